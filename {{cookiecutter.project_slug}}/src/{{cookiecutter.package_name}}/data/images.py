"""Read image files as 8-bit images."""

import io
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchcodec.decoders import decode_jpeg

from ..errors import UsageError
from ..settings.data import PixelFormat
from .image_formats import UNREADABLE, opened, orientation_of, to_channels, upright

RGB = PixelFormat()
# Markers of a JPEG file (ITU T.81, table B.1): those of its size, and those to skip.
JPEG_SIZES = {b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"}
JPEG_SKIPPED = {bytes([0xFF, code]) for code in (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))}
JPEG_METADATA = b"\xff\xe1"  # Exif or XMP


class UnreadableImageError(UsageError):
    """A file of images is missing, damaged or of another kind."""

    def __init__(self, path: str, reason: str) -> None:
        reason = reason.partition("\n")[0].rstrip(".")
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

    def __init__(self, paths: np.ndarray, pixels: PixelFormat) -> None:
        self.paths = paths
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.paths)

    # ~ if cookiecutter.scope == "complete"
    def source(self, index: int) -> tuple[list[str], object]:
        """Return the files of a picture, and what else its pixels depend on."""
        return [str(self.paths[index])], None

    # ~ endif
    def __getitem__(self, index: int) -> DecodedImage:
        image = read_image(str(self.paths[index]), self.pixels)
        return DecodedImage((image,), (image.shape[1], image.shape[2]))


def read_image(path: str | Path, pixels: PixelFormat = RGB) -> Tensor:
    """Decode an image file to 8 bits, upright as its Exif or XMP orientation says.

    torchcodec decodes JPEG to the same pixels as Pillow in two thirds to four fifths of the time.

    Returns:
        uint8 tensor [channels, H, W]. For three channels, grey is repeated, other colours become
        RGB, and transparent parts white. In memory, the values of a pixel are adjacent, which
        makes resizing twice as fast.

    Raises:
        UnreadableImageError: if the file is missing, damaged, not an image, has more than
            ``max_pixels`` pixels or another number of channels, or values that cannot be
            scaled because ``value_range`` is null.
    """
    name = str(path)
    try:
        if pixels.channels == 3 and name.lower().endswith((".jpg", ".jpeg")):
            with open(name, "rb") as file:  # noqa: PTH123 - faster than a Path
                content = file.read()
            with suppress(RuntimeError, ValueError):  # Pillow then reads or refuses it
                return _decode_jpeg(content, pixels.max_pixels)
        with opened(name, pixels) as image:
            return torch.from_numpy(to_channels(image, pixels)).permute(2, 0, 1)
    except UNREADABLE as error:
        raise UnreadableImageError(name, str(error)) from error


def _decode_jpeg(content: bytes, max_pixels: int) -> Tensor:
    """Decode a JPEG file to RGB, a uint8 tensor [3, H, W].

    The orientation is the one that Pillow reads. torchcodec, which knows neither XMP nor all forms
    of Exif, gets the file without metadata. Pillow opens the file only for other metadata than
    Exif, since that takes a fifth of the time for a small photo.

    Raises:
        RuntimeError, ValueError: if Pillow must read the file.
    """
    place, metadata = 2, []
    while (marker := content[place : place + 2]) in JPEG_SKIPPED:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4])
        if marker == JPEG_METADATA:
            metadata.append(slice(place, end))
        place = end
    height, width = (int.from_bytes(content[start : start + 2]) for start in (place + 5, place + 7))
    if marker not in JPEG_SIZES or not 0 < height * width <= max_pixels:
        raise ValueError("the header is unusual, or the image too large")
    orientation, exif = 1, content[metadata[0]][4:] if len(metadata) == 1 else b""
    if exif.startswith(b"Exif"):
        orientation = orientation_of(exif)
    elif metadata:
        with Image.open(io.BytesIO(content)) as file:
            orientation = orientation_of(file)
    for part in reversed(metadata):
        content = content[: part.start] + content[part.stop :]
    image: Tensor = decode_jpeg(content)
    if orientation == 1:
        return image
    return torch.from_numpy(upright(image.permute(1, 2, 0).numpy(), orientation)).permute(2, 0, 1)


# ~ if cookiecutter.task != "classification"
def size_conflict(
    size: tuple[int, int], annotated: tuple[int, int], source: str = "annotations say"
) -> str:
    """Explain that the height and width of a file, as it is shown, are not the annotated ones.

    ``source`` is where these come from, with a verb.
    """
    shown, expected = (f"{width} x {height}" for height, width in (size, annotated))
    reason = f"it is {shown} pixels, but its {source} {expected}"
    if size == annotated[::-1]:
        reason += (
            ". One of the two leaves out an orientation (Exif): apply it to both, that is, save "
            "the pixels as they are shown, or remove it from both"
        )
    return reason


# ~ endif
def image_size(path: str | Path, pixels: PixelFormat = RGB) -> tuple[int, int]:
    """Return the height and width of an image file as it is shown, from its header if possible.

    Raises:
        UnreadableImageError: as for ``read_image``.
    """
    try:
        with opened(str(path), pixels) as image:
            if isinstance(image, np.ndarray):
                return image.shape[0], image.shape[1]
            turned = image.format != "TIFF" and orientation_of(image) >= 5  # Pillow turns TIFF
            return (image.width, image.height) if turned else (image.height, image.width)
    except UNREADABLE as error:
        raise UnreadableImageError(str(path), str(error)) from error
