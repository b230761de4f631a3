"""Convert the values of an image to 8 bits, by a scale that all images of a data set share."""

import numpy as np
from PIL import Image, ImageOps

from ..settings.data import PixelFormat

TOLERANCE = 0.01  # floats from 0 to 1 may exceed these bounds by this much, and are cut off


def to_channels(content: Image.Image | np.ndarray, pixels: PixelFormat) -> np.ndarray:
    """Convert what ``opened`` yields to 8 bits.

    Returns:
        uint8 array [H, W, channels]. For three channels, grey is repeated, other colours become
        RGB and transparent parts white.

    Raises:
        ValueError: for another number of channels, or values that have no scale.
    """
    three = pixels.channels == 3
    if isinstance(content, Image.Image):
        values = _bands(ImageOps.exif_transpose(content), rgb=three)
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
        raise ValueError(f"it has {count} channels, but data.channels={pixels.channels}")
    return values


def _bands(image: Image.Image, *, rgb: bool) -> np.ndarray:
    if rgb:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))
    if image.mode in {"1", "P", "PA"}:
        image = image.convert({"1": "L", "P": "RGB", "PA": "RGBA"}[image.mode])
    values = np.array(image)
    return values if values.ndim == 3 else values[..., None]


def to_8_bits(values: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Scale values to 0 to 255 by their type, never by the values of a single image.

    Bytes stay as they are. Other values are scaled by ``value_range`` and cut off there; without
    it, floats must be from 0 to 1.

    Raises:
        ValueError: for values that are not numbers, or have no scale.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"its values are of the type {values.dtype}")
    invalid = int((~np.isfinite(values)).sum())
    if invalid:
        raise ValueError(f"{invalid} of its values are not numbers or infinite")
    if value_range is None:
        low, high = float(values.min()), float(values.max())
        if values.dtype.kind != "f" or low < -TOLERANCE or high > 1 + TOLERANCE:
            raise ValueError(
                f"its values ({values.dtype}, {low:g} to {high:g}) have no scale: name the values "
                "that stand for black and white in all images, as in data.value_range=[0,4095]"
            )
        value_range = (0.0, 1.0)
    low, high = value_range
    precise = np.float32 if values.dtype.itemsize <= 2 else np.float64
    scaled: np.ndarray = values.astype(precise)
    scaled = (scaled - low) * (255 / (high - low))
    return scaled.clip(0, 255).round().astype(np.uint8)
