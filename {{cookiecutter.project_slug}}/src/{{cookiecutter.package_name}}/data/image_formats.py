"""Open image files of any format and depth, and convert their values to 8 bits."""

import logging
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torchcodec.decoders import decode_png

from ..settings.data import PixelFormat

# Pillow prints each file of more bands than it reads, which tifffile reads, or which is reported.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
Image.MAX_IMAGE_PIXELS = None  # data.max_pixels takes the place of Pillow's limit
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION = 258, 262, 274  # tags of TIFF, the last also of Exif
KIND_OF_PAGE, SAMPLES, SAMPLE_FORMAT = 254, 277, 339  # further tags of TIFF
SIGNED = 2  # the value of SAMPLE_FORMAT for numbers with a sign
UNREADABLE = (OSError, RuntimeError, SyntaxError, ValueError)  # errors of decoders
# ~ if cookiecutter.scope == "complete"
SEPARATED = 5  # the value of PHOTOMETRIC for CMYK
INKS = "its channels are the inks of a print (CMYK): convert it to RGB, or save a NumPy file"
# ~ endif
TOLERANCE = 0.01  # floats from 0 to 1 may exceed these bounds by this much, and are cut off
with suppress(ImportError):  # an optional package
    import_module("pillow_heif").register_heif_opener()
HAS_HEIF = "pillow_heif" in sys.modules


@contextmanager
def opened(path: str, pixels: PixelFormat) -> Iterator[Image.Image | np.ndarray]:
    """Open an image file; a damaged file, or one that is too large, raises one of ``UNREADABLE``.

    Yields:
        # ~ if cookiecutter.scope == "complete"
        The upright values [H, W, C] of a file of NumPy, of more than 8 bits or of many channels;
        otherwise a Pillow image of 8 bits, of which only the header has been read.
        # ~ else
        The upright values [H, W, C] of a file of more than 8 bits; otherwise a Pillow image of 8
        bits, of which only the header has been read.
        # ~ endif
    """
    is_tiff = path.lower().endswith((".tif", ".tiff"))
    # ~ if cookiecutter.scope == "complete"
    if path.lower().endswith(".npy"):
        yield _read_numpy(path, pixels)
        return
    if is_tiff and pixels.channels not in {1, 3}:  # Pillow reads some of them, as other colours
        yield _read_tiff(path, pixels)
        return
    # ~ endif
    try:
        file = open_image(path)
    except UnidentifiedImageError:
        if not is_tiff:
            raise
        yield _read_tiff(path, pixels)
        return
    with file:
        _check_size(file.height, file.width, pixels)
        if isinstance(file, TiffImageFile) and _exceeds_pillow(file):
            yield _read_tiff(path, pixels)
        elif file.mode.startswith(("I", "F")):  # grey
            values = upright(np.asarray(file)[..., None], shown_orientation(file))
            if isinstance(file, TiffImageFile) and file.mode.startswith("I;16"):
                # Pillow inverts only images of 8 bits in which 0 is white.
                values = 65535 - values if file.tag_v2.get(PHOTOMETRIC) == 0 else values
            yield values
        elif file.format == "PNG" and png_bits(path) == 16:  # Pillow would drop 8 of them
            try:
                image = decode_png(path, mode="UNCHANGED", output_dtype="auto")
            except RuntimeError as error:  # names a line of the decoder's source
                raise ValueError("the file is damaged, or ends early") from error
            yield image.permute(1, 2, 0).numpy()
        else:
            yield file


def open_image(path: str) -> Image.Image:
    """Open an image file with Pillow, which reads its pixels later."""
    try:
        file = Image.open(path)
    except UnidentifiedImageError:
        if path.lower().endswith((".heic", ".heif")) and not HAS_HEIF:
            raise ValueError("it needs the package pillow-heif: uv add pillow-heif") from None
        raise UnidentifiedImageError(_why_unidentified(path)) from None
    if isinstance(file, TiffImageFile) and file.tag_v2.get(ORIENTATION) in (5, 6, 7, 8):
        file.filename = ""  # otherwise Pillow exchanges width and height before it maps the pixels
    return file


def _why_unidentified(path: str) -> str:
    """Return what a file is that Pillow does not take for an image."""
    with open(path, "rb") as file:  # noqa: PTH123 - faster than a Path
        start = file.read(100)
    if start.startswith(b"version https://git-lfs"):
        return "it only names a file in Git LFS, which fetches the image itself: git lfs pull"
    if start.startswith((b"II", b"MM")):
        return "it is a damaged TIFF file, or has values of another type than whole numbers in grey"
    if start and start.isascii() and b"\0" not in start:
        return f"it is a text, which starts with {start[:20]!r}"
    return "it is damaged, or its format is not known"


def is_transparent(path: str, pixels: PixelFormat) -> bool:
    """Return whether opacity is no channel of its own, and all pixels of a file are transparent."""
    if pixels.channels != 3 or path.lower().endswith((".jpeg", ".jpg")):
        return False
    with suppress(*UNREADABLE), Image.open(path) as image:
        _check_size(image.height, image.width, pixels)
        return image.has_transparency_data and not np.asarray(image.convert("RGBA"))[..., 3].any()
    return False


def _exceeds_pillow(file: TiffImageFile) -> bool:
    """Return whether Pillow would mistake a sign, or leave out bits, a channel or equal pages.

    A file whose first page is a thumbnail of another one raises a ValueError.
    """
    tags, size, is_grey = file.tag_v2, file.size, file.mode.startswith(("I", "F"))
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    mistaken = file.mode == "I" if not signed else file.mode not in {"I", "F"}
    lossy = not is_grey and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8
    if mistaken or lossy or tags.get(SAMPLES, 1) > len(file.getbands()):
        return True
    is_thumbnail = tags.get(KIND_OF_PAGE, 0) & 1
    try:
        file.seek(1)
        if is_thumbnail:
            raise ValueError("its first page is a thumbnail: save the picture alone")
        # A page that is a smaller copy, or tells the opacity, is not a part of the image.
        return file.size == size and not file.tag_v2.get(KIND_OF_PAGE, 0) & 5
    except EOFError:
        return False
    finally:
        file.seek(0)


def png_bits(path: str) -> int:
    """Return the number of bits of each value of a PNG file, or of an index of its palette."""
    with open(path, "rb") as file:  # noqa: PTH123 - faster than a Path
        return file.read(25)[-1]


def _check_size(height: int, width: int, pixels: PixelFormat) -> None:
    if height * width > pixels.max_pixels:
        raise ValueError(
            f"it has {width} x {height} pixels, more than data.max_pixels={pixels.max_pixels}; if "
            "you trust the file, raise this limit"
        )


# ~ if cookiecutter.scope == "complete"
def _read_numpy(path: str, pixels: PixelFormat) -> np.ndarray:
    stored = np.lib.format.open_memmap(path, mode="r")  # only the header is read
    values = _channels_last(stored, pixels.channels)
    _check_size(values.shape[0], values.shape[1], pixels)
    return np.array(values)


def _read_tiff(path: str, pixels: PixelFormat) -> np.ndarray:
    try:
        tifffile = import_module("tifffile")
    except ImportError as error:
        raise ValueError(
            "its channels, pages or bits need the package tifffile: uv sync --extra tiff"
        ) from error
    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages[0]
        if np.prod(series.shape) > pixels.max_pixels * pixels.channels:
            raise ValueError(f"it is larger than data.max_pixels={pixels.max_pixels} allows")
        if page.photometric == SEPARATED:
            raise ValueError(INKS)
        values = _channels_last(series.asarray(), pixels.channels)
        if values.dtype == np.uint16 and page.photometric == 0:  # 0 is white
            values = 65535 - values
        return upright(values, int(page.tags.valueof(ORIENTATION, 1)))


def _channels_last(values: np.ndarray, channels: int) -> np.ndarray:
    """Return an array of shape [H, W], [H, W, C] or [C, H, W] as [H, W, C]."""
    if not values.size:
        raise ValueError("it has no pixels")
    if values.ndim == 2:
        return values[..., None]
    if values.ndim == 3 and values.shape[2] in {channels, 1}:
        return values
    if values.ndim == 3 and values.shape[0] in {channels, 1} and values.shape[0] < values.shape[2]:
        return np.moveaxis(values, 0, 2)
    shape = " x ".join(map(str, values.shape))
    raise ValueError(
        f"it has {shape} values, but data.channels={channels}: set data.channels to the number of "
        "channels of all images, or convert this one"
    )


# ~ else
def _read_tiff(_path: str, _pixels: PixelFormat) -> np.ndarray:
    raise ValueError(
        "TIFF files with such channels, pages or bits are not supported: save each page as a PNG "
        "file of 8 or 16 bits, in grey or RGB"
    )


# ~ endif
def upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image [H, W, C] as its orientation, 1 to 8 as Exif defines it, says."""
    if orientation in {5, 6, 7, 8}:
        values = values.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        values = values[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        values = values[::-1]
    return np.ascontiguousarray(values)


def orientation_of(file: Image.Image{{ " | bytes" if cookiecutter.scope == "complete" }}) -> int:
    # ~ if cookiecutter.scope == "complete"
    """Return the orientation, 1 to 8, of Exif data, or of an image: from Exif or else from XMP."""
    with suppress(*UNREADABLE, KeyError, TypeError, struct.error):  # if the metadata are damaged
        exif = Image.Exif() if isinstance(file, bytes) else file.getexif()
        if isinstance(file, bytes):
            exif.load(file)
        orientation = int(exif.get(ORIENTATION, 1))
        # ~ else
    """Return the orientation of an image, 1 to 8, from Exif or else from XMP."""
    with suppress(*UNREADABLE, KeyError, TypeError, struct.error):  # if the metadata are damaged
        orientation = int(file.getexif().get(ORIENTATION, 1))
        # ~ endif
        return orientation if orientation in range(1, 9) else 1
    return 1


def shown_orientation(file: Image.Image) -> int:
    """Return the orientation by which an image must be turned; Pillow turns TIFF files itself."""
    return 1 if file.format == "TIFF" else orientation_of(file)


def to_channels(content: Image.Image | np.ndarray, pixels: PixelFormat) -> np.ndarray:
    """Convert what ``opened`` yields to uint8 values [H, W, channels], as ``read_image`` says."""
    three = pixels.channels == 3
    if isinstance(content, Image.Image):
        values = upright(_bands(content, rgb=three), shown_orientation(content))
    elif three and content.shape[2] in {2, 4}:  # the last channel of such a PNG is opacity
        opacity = content[..., -1:].astype(np.float32) / np.iinfo(content.dtype).max
        color = to_8_bits(content[..., :-1], pixels.value_range)
        values = (255 + (color - 255.0) * opacity).round().astype(np.uint8)
    else:
        values = to_8_bits(content, pixels.value_range)
    count = values.shape[2]
    if three and count == 1:
        return values.repeat(3, axis=2)
    if count != pixels.channels:
        # ~ if cookiecutter.scope == "complete"
        raise ValueError(
            f"it has {count} channels, but data.channels={pixels.channels}: set data.channels to "
            "the number of channels of all images, or convert this one"
        )
        # ~ else
        raise ValueError(
            f"it has {count} channels, but data.channels={pixels.channels}: convert it to "
            f"{'RGB' if three else 'grey'}"
        )
        # ~ endif
    return values


def _bands(image: Image.Image, *, rgb: bool) -> np.ndarray:
    if rgb:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))
    # ~ if cookiecutter.scope == "complete"
    if image.mode == "CMYK":
        raise ValueError(INKS)
    # ~ endif
    if image.mode in {"1", "P", "PA"}:
        color = "RGBA" if image.has_transparency_data else "RGB"
        image = image.convert("L" if image.mode == "1" else color)
    return np.atleast_3d(np.array(image))


def to_8_bits(values: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Scale values to 0 to 255 by their type, never by the values of a single image.

    Bytes stay as they are. Other values are scaled by ``value_range`` and cut off there; without
    it, floats must be from 0 to 1.
    """
    if values.dtype == np.uint8:
        return values
    # ~ if cookiecutter.scope == "complete"
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"its values are of the type {values.dtype}")
    # ~ endif
    invalid = int((~np.isfinite(values)).sum())
    if invalid:
        raise ValueError(f"{invalid} of its values are not numbers or infinite")
    if value_range is None:
        low, high = float(values.min()), float(values.max())
        if values.dtype.kind != "f" or low < -TOLERANCE or high > 1 + TOLERANCE:
            raise ValueError(
                f"its values ({values.dtype}, {low:g} to {high:g}) cannot be scaled to 8 bits: set "
                "the values of black and white in all images, such as data.value_range=[0,4095]"
            )
        value_range = (0.0, 1.0)
    low, high = value_range
    precise = "float32" if values.dtype.itemsize <= 2 else "float64"
    scaled: np.ndarray = (values.astype(precise) - low) * (255 / (high - low))
    return scaled.clip(0, 255).round().astype(np.uint8)
