"""Read image files as 8-bit images."""

import os
# ~ if cookiecutter.scope == "complete"
from contextlib import suppress
# ~ endif
from pathlib import Path
from typing import NamedTuple

# ~ if cookiecutter.task != "classification" or cookiecutter.scope == "complete"
import numpy as np
# ~ endif
import torch
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from ..errors import UsageError
from ..settings.data import PixelFormat
from .image_formats import UNREADABLE, opened, {{ "to_channels" if cookiecutter.scope == "essential" and cookiecutter.task == "classification" else "shown_orientation, to_channels" }}
from .jpeg import check_complete{{ ", decode_jpeg_file" if cookiecutter.scope == "complete" }}

ENDS = {".jpeg": b"\xff\xd9", ".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}  # of whole files
RGB = PixelFormat()
REPAIR = "Repair or remove it, or leave such images out: data.skip_unreadable=true"


class UnreadableImageError(UsageError):
    """An image file is missing, damaged or of another kind."""

    def __init__(self, path: str, reason: str, remedy: str = REPAIR) -> None:
        reason = reason.partition("\n")[0].rstrip(".")
        super().__init__(f"{path} cannot be read: {reason}.\n{remedy}")
        self.unreadable = Unreadable(path, reason, remedy)


class Unreadable(NamedTuple):
    """The path of an unreadable image and the reason; data sets return it instead of a sample."""

    path: str
    reason: str
    remedy: str = REPAIR


# ~ if cookiecutter.task != "classification" or cookiecutter.scope == "complete"
class DecodedImage(NamedTuple):
    """An image and further tensors of the same height and width, such as a target."""

    parts: tuple[Tensor, ...]  # uint8 [C, H, W] each; the first is the image
    size: tuple[int, int]  # height and width of the image file


# ~ if cookiecutter.task != "segmentation"
class ImageFiles:
    """A sequence of ``DecodedImage``, each without further tensors, from image files."""

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


# ~ endif
# ~ endif
def may_end_early(path: str) -> bool:
    """Return whether the last bytes of a JPEG or PNG file are not those of its format.

    A whole file may have further data there, and a file may be named after another format.
    """
    end = ENDS.get(path[path.rfind(".") :].lower())
    if end is None:
        return False
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - faster than a Path
            file.seek(-len(end), os.SEEK_END)
            return file.read() != end
    except OSError:  # it is missing, or empty
        return True


# ~ if cookiecutter.task != "classification"
def size_conflict(
    size: tuple[int, int], annotated: tuple[int, int], source: str = "annotations say"
) -> str:
    """Explain that the height and width of a file are not those that ``source`` says."""
    shown, expected = (f"{width} x {height}" for height, width in (size, annotated))
    reason = f"it is {shown} pixels, but its {source} {expected}"
    if size == annotated[::-1]:
        reason += (
            ". One of the two leaves out an orientation (Exif), or has width and height in the "
            "wrong order. Save the pixels as they are shown, without an orientation, and correct "
            "the annotations if they do not fit"
        )
    else:
        reason += ". Use the image that was annotated, or annotate this one"
    return reason


# ~ endif
# ~ if cookiecutter.task != "classification" or cookiecutter.scope == "complete"
def image_size(path: str | Path, pixels: PixelFormat = RGB) -> tuple[int, int]:
    """Return the height and width of an image file as it is shown, from its header if possible."""
    try:
        with opened(str(path), pixels) as image:
            if isinstance(image, np.ndarray):
                return image.shape[0], image.shape[1]
            turned = shown_orientation(image) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except UNREADABLE as error:
        raise UnreadableImageError(str(path), str(error)) from error


# ~ endif
def read_image(path: str | Path, pixels: PixelFormat = RGB) -> Tensor:
    """Decode an image file to 8 bits, upright as its Exif or XMP orientation says.

    Returns:
        uint8 tensor [channels, H, W]. For three channels, grey is repeated, other colours become
        RGB, and transparent parts white. In memory, the values of a pixel are adjacent, which
        makes resizing twice as fast.

    Raises:
        UnreadableImageError: if the file is damaged, or is not as ``pixels`` says.
    """
    try:
        # ~ if cookiecutter.scope == "complete"
        if pixels.channels == 3 and str(path).lower().endswith((".jpg", ".jpeg")):
            with suppress(RuntimeError, ValueError):  # Pillow then reads or refuses it
                return decode_jpeg_file(str(path), pixels.max_pixels)
        # ~ endif
        with opened(str(path), pixels) as image:
            values = to_channels(image, pixels)
            if isinstance(image, JpegImageFile):
                check_complete(str(path), image)
        return torch.from_numpy(values).permute(2, 0, 1)
    except UNREADABLE as error:
        raise UnreadableImageError(str(path), str(error)) from error
