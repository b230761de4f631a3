"""Read image files as 8-bit RGB."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torchcodec.decoders import decode_jpeg

from ..errors import UsageError

MAX_PIXELS = 100_000_000  # as data.max_pixels in configs/base.yaml
Image.MAX_IMAGE_PIXELS = None  # data.max_pixels takes the place of Pillow's limit
# Markers of a JPEG file (ITU T.81, table B.1): those of its size, and those to skip.
JPEG_SIZES = {b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"}
JPEG_SKIPPED = {bytes([0xFF, code]) for code in (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))}


class UnreadableImageError(UsageError):
    """An image file is missing, damaged or not an image."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}.\n"
            "Repair or remove it, or leave such images out: data.skip_unreadable=true"
        )
        self.unreadable = Unreadable(path, reason)


class Unreadable(NamedTuple):
    """The path of an unreadable image and the reason; data sets return it instead of a sample."""

    path: str
    reason: str


class DecodedImage(NamedTuple):
    """An image and further tensors of the same height and width, such as a target."""

    parts: tuple[Tensor, ...]  # uint8 [C, H, W] each; the first is the image
    size: tuple[int, int]  # height and width of the image file


class ImageFiles:
    """A sequence of pictures that are decoded from image files."""

    def __init__(self, paths: np.ndarray, max_pixels: int) -> None:
        self.paths = paths
        self.max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> DecodedImage:
        image = read_image(str(self.paths[index]), self.max_pixels)
        return DecodedImage((image,), (image.shape[1], image.shape[2]))


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Decode an image file to 8-bit RGB.

    torchcodec decodes JPEG to the same pixels as Pillow in two thirds to four fifths of the time.
    Other formats need Pillow, which handles palettes, transparency and 16-bit images.

    Returns:
        uint8 tensor [3, H, W], RGB, rotated by its EXIF orientation; transparent parts are white.
        In memory, the three values of a pixel are adjacent, which makes resizing twice as fast.

    Raises:
        UnreadableImageError: if the file is missing, damaged, not an image, or has more than
            ``max_pixels`` pixels.
    """
    name = str(path)
    try:
        if name.lower().endswith((".jpg", ".jpeg")):
            with open(name, "rb") as file:  # noqa: PTH123 - faster than a Path
                content = file.read()
            if 0 < _jpeg_pixels(content) <= max_pixels:
                with suppress(RuntimeError, ValueError):  # Pillow then reads or refuses it
                    image: Tensor = decode_jpeg(content)
                    return image
        return _read_with_pillow(name, max_pixels)
    except (OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(name, str(error).splitlines()[0].rstrip(".")) from error


def _jpeg_pixels(content: bytes) -> int:
    """Return width times height in the header of a JPEG file, or 0 if Pillow must look for it.

    Pillow's header takes ten times as long, which would be 3 % of the time for a small photo.
    """
    place = 2
    while (marker := content[place : place + 2]) in JPEG_SKIPPED:
        place += 2 + int.from_bytes(content[place + 2 : place + 4])
    height, width = (int.from_bytes(content[start : start + 2]) for start in (place + 5, place + 7))
    return height * width if marker in JPEG_SIZES else 0


def _read_with_pillow(path: str, max_pixels: int) -> Tensor:
    with Image.open(path) as file:  # only the header is read
        width, height = file.size
        if width * height > max_pixels:
            raise UnreadableImageError(
                path,
                f"it has {width} x {height} pixels; if you trust it, raise "
                f"data.max_pixels={max_pixels}",
            )
        image: Image.Image = ImageOps.exif_transpose(file)
        if image.mode.startswith(("I", "F")):  # 16-bit and 32-bit greys, which convert() would clip
            values = np.asarray(image, dtype=np.float32)
            top = 255.0 if values.max(initial=0) <= 255.0 else 65535.0
            image = Image.fromarray((values / top * 255.0).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            background = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(background, image)
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the height and width of an image file as it is shown, from its header.

    Raises:
        UnreadableImageError: if the file is missing, damaged or not an image.
    """
    try:
        with Image.open(path) as file:
            turned = file.getexif().get(ExifTags.Base.Orientation, 1) in {5, 6, 7, 8}
            return (file.width, file.height) if turned else (file.height, file.width)
    except (OSError, RuntimeError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(str(path), str(error).splitlines()[0].rstrip(".")) from error
