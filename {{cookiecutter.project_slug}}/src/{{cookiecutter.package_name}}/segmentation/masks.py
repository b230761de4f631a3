"""Read mask files: ids, grey values, palettes or colours."""

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from ..data.image_formats import BITS_PER_SAMPLE, ORIENTATION, open_image, orientation_of, png_bits
from ..data.images import UnreadableImageError, size_conflict
from .class_list import AMBIGUOUS, BLACK, COLOR, IGNORE_INDEX, IGNORED_COLOR, WHITE, Classes

# The suffixes of formats that may change values.
LOSSY_SUFFIXES = (".avif", ".heic", ".heif", ".jpeg", ".jpg", ".webp")


def read_mask(
    path: str, classes: Classes, size: tuple[int, int], image_file: str | None = None
) -> Tensor:
    """Return the class ids of a mask, uint8 [H, W], from its grey values, palette or colours.

    ``size`` is the height and width of the image as it is shown. A mask that has the size of the
    unturned image is turned by the orientation (Exif) of ``image_file``.

    A mask that cannot be read in this way raises an UnreadableImageError.
    """
    try:
        with open_image(path) as file:
            bits = mask_bits(file)
            if file.height * file.width != size[0] * size[1]:  # before it is decoded
                raise ValueError(size_conflict((file.height, file.width), size, "image is"))
            image = ImageOps.exif_transpose(file)
            if (image.height, image.width) != size and image_file is not None:
                with Image.open(image_file) as turned:
                    image.getexif()[ORIENTATION] = orientation_of(turned)
                image = ImageOps.exif_transpose(image)
            if (image.height, image.width) != size:
                raise ValueError(size_conflict((image.height, image.width), size, "image is"))
            values = mask_values(image, classes, bits)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableImageError(path, str(error)) from error
    known, present = classes.ids, np.unique(values).tolist()
    unknown = [value for value in present if known.get(value, AMBIGUOUS) == AMBIGUOUS]
    if unknown:
        raise UnreadableImageError(path, *_why_unknown(path.lower(), unknown, classes))
    ids = np.empty(values.shape, dtype=np.uint8)
    for value in present:
        ids[values == value] = known[value]
    return torch.from_numpy(ids)


def _why_unknown(path: str, values: list[int], classes: Classes) -> tuple[str, str]:
    """Return why values of a mask have no class, and what to do."""
    color, last = values[0] - COLOR, len(classes.names) - 1
    if color < 0 and classes.greys is None:
        remedy = (
            f"The ids are the lines of classes.txt, 0 to {last}, and {IGNORE_INDEX} for pixels to "
            "ignore: write them into the masks"
        )
        if path.endswith(LOSSY_SUFFIXES):
            remedy += (
                ", and save these as PNG files, since JPEG and the like change values at edges"
            )
        elif all(value % 257 == 0 for value in values):
            remedy += ", perhaps by dividing all values by 257, as they are those of 8 bits in 16"
        elif values == [last + 1] and last > 1:
            remedy += ", or name id 0 on a line before the others if the ids count from 1"
        elif path.endswith((".tif", ".tiff")) and min(values) + last >= 255 > max(values):
            remedy += ", perhaps by saving TIFF files in which 0 is black instead of white"
        elif 0 < max(values) < 256:
            remedy += ", name further classes, or the greys of all classes, as in road 128 128 128"
        reason = f"it holds the ids {values[:5]}, but the classes end at {last}"
        return reason, f"{remedy}."
    if color < 0:
        others = sorted(classes.greys or {})
        reason = f"it holds the values {values[:5]}, but other masks hold only {others}"
        return reason, "Write the same values into all masks."
    shown = (color >> 16, color >> 8 & 255, color & 255)
    remedy = "Correct classes.txt, or the colours of the mask."
    if color in classes.colors:
        return f"its colour {shown} is that of several classes in classes.txt", remedy
    indices = {*classes.colors.values()}
    bare = [name for index, name in enumerate(classes.names) if index not in indices][:5]
    hint = f", where {', '.join(map(repr, bare))} has no colour, as in road 128 64 128"
    is_known = not bare or AMBIGUOUS in indices
    return f"its colour {shown} is none of classes.txt{'' if is_known else hint}", remedy


def mask_bits(file: Image.Image) -> int:
    """Return the number of bits of each value of a file; 8 if the file does not tell.

    A file of which Pillow would leave out pages or bits raises a ValueError.
    """
    if (pages := getattr(file, "n_frames", 1)) > 1:
        raise ValueError(f"it has {pages} pages or frames, but a mask must have one")
    bits = 1 if file.mode == "1" else 8
    if isinstance(file, PngImageFile) and file.mode != "P":
        bits = png_bits(str(file.filename))
    elif isinstance(file, TiffImageFile):
        bits = max(file.tag_v2.get(BITS_PER_SAMPLE, (bits,)))
    if bits > 8 and not file.mode.startswith(("F", "I")):
        raise ValueError(
            f"it has several channels of {bits} bits: save the same values in 8 bits, or in grey"
        )
    return bits


def mask_values(image: Image.Image, classes: Classes, bits: int = 8) -> np.ndarray:
    """Return the grey values of a mask, or its colours plus ``COLOR``, int32 [H, W].

    Pillow multiplies grey values of less than 8 ``bits``, so that the largest one becomes 255. They
    are returned as they are stored, unless ``classes.txt`` has all of Pillow's values as colours.

    A palette with colours of ``classes.txt`` counts as colours, whatever their order. Its index
    ``IGNORE_INDEX`` remains unless it has the colour of a class. The indices of any other palette
    count as grey values; with two classes, those of black and white count as 0 and 1.
    """
    if image.mode in {"1", "L", "F"} or image.mode.startswith("I"):
        return _values_of_grey(image, classes, bits)
    if image.mode == "P":
        if has_ids_in_grey(image, classes):
            return np.asarray(image.convert("L")).astype(np.int32)
        indices, colors = np.asarray(image).astype(np.int32), _colors_of_palette(image)
        if not classes.ids.keys() & {*colors.tolist()}:
            if len(classes.names) == 2 and {*colors.tolist()} == {BLACK, WHITE}:
                indices = (colors[indices] == WHITE).astype(np.int32)  # in any order
            return indices
        table = np.full(256, COLOR, dtype=np.int32)
        table[: len(colors)] = colors
        if int(table[IGNORE_INDEX]) not in classes.ids:
            table[IGNORE_INDEX] = IGNORED_COLOR
        return table[indices]
    pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    if image.mode in {"LA", "PA", "RGBA"}:
        transparent = np.asarray(image.getchannel("A")) < 255
        if transparent.any() and (transparent == pixels.any(axis=-1)).any():
            raise ValueError(
                "its transparent pixels are not just the black ones: save it without "
                "transparency, or the transparency alone as a mask if that holds the object"
            )
    if not classes.colors and (pixels == pixels[..., :1]).all():  # a grey mask with three channels
        return pixels[..., 0]
    return _packed(pixels)


def _values_of_grey(image: Image.Image, classes: Classes, bits: int) -> np.ndarray:
    values = np.asarray(image)
    if image.mode == "F" and not (values == np.round(values)).all():
        raise ValueError("its values are not whole numbers")
    values = values.astype(np.int32)
    if bits >= 8:
        return values
    step = 255 // (2**bits - 1)
    stored = values if image.mode == "1" else values // step
    colors = COLOR | stored * step * 0x010101
    return colors if {*np.unique(colors).tolist()} <= classes.ids.keys() else stored


def has_ids_in_grey(image: Image.Image, classes: Classes) -> bool:
    """Return whether a palette has ids as grey colours, as programs write that shrink files."""
    colors = _colors_of_palette(image)
    greys = colors & 255
    present = {*greys.tolist()} - {0, IGNORE_INDEX}
    in_order = (greys == np.arange(len(greys))).all()
    are_ids = in_order or (present and max(present) < len(classes.names))
    return bool(are_ids and (colors == COLOR | greys * 0x010101).all())


def has_ids_as_indices(image: Image.Image, classes: Classes) -> bool:
    """Return whether the indices of a palette are ids, and its colours neither ids nor classes."""
    colors = {*_colors_of_palette(image).tolist()}
    return not (has_ids_in_grey(image, classes) or classes.ids.keys() & colors)


def _colors_of_palette(image: Image.Image) -> np.ndarray:
    return _packed(np.array(image.getpalette("RGB"), dtype=np.int32).reshape(-1, 3))


def _packed(colors: np.ndarray) -> np.ndarray:
    packed: np.ndarray = COLOR | colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]
    return packed
