"""Draw images with their targets and predictions, and describe predictions in words."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..evaluation.drawing import to_picture
from .masks import Prediction, mask_image

MIN_WIDTH = 256
FONT_SIZE = 13
STRENGTH = 0.55  # opacity of the colours over the image


def draw_prediction(
    image: Tensor, target: Tensor | None, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw the predicted mask over an image and, if given, the target over a second copy.

    Args:
        image: uint8 tensor [C, H, W].
        target: uint8 tensor [H, W] of class ids, or None.
        prediction: the predicted mask, which is resized to the image.
        classes: the class names.
    """
    picture = to_picture(image)
    if picture.width < MIN_WIDTH:
        factor = math.ceil(MIN_WIDTH / picture.width)
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    masks = [(caption(target, prediction, classes), prediction.mask)]
    if target is not None:
        masks.append(("target", target))
    tiles = [_overlaid(picture, mask, name) for name, mask in masks]
    joined = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height))
    for index, tile in enumerate(tiles):
        joined.paste(tile, (index * tile.width, 0))
    return joined


def draw_target(image: Tensor, target: Tensor, _classes: Sequence[str]) -> Image.Image:
    """Draw a mask, uint8 [H, W], over its image, uint8 [C, H, W]."""
    return Image.blend(to_picture(image), mask_image(target).convert("RGB"), STRENGTH)


def _overlaid(picture: Image.Image, mask: Tensor, name: str) -> Image.Image:
    ids = mask_image(mask).resize(picture.size, Image.Resampling.NEAREST)
    colored = Image.blend(picture, ids.convert("RGB"), STRENGTH)
    size = max(FONT_SIZE, picture.width // 32)
    tile = Image.new("RGB", (picture.width, picture.height + size + 8), "#24292f")
    tile.paste(colored, (0, 0))
    ImageDraw.Draw(tile).text((6, picture.height + 3), name, "white", ImageFont.load_default(size))
    return tile


def caption(_target: Tensor | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the names of the predicted classes, sorted by descending area."""
    return ", ".join(name for name, _ in _shares(prediction, classes))


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """Return the columns of the table of predictions: the share of the image for each class."""
    shares = dict(_shares(prediction, classes))
    return {name: round(shares.get(name, 0.0), 6) for name in classes}


def _shares(prediction: Prediction, classes: Sequence[str]) -> list[tuple[str, float]]:
    counts = mask_image(prediction.mask).histogram()[: len(classes)]  # without IGNORE_INDEX
    pairs = zip(classes, counts, strict=True)
    seen = [(name, count / sum(counts)) for name, count in pairs if count]
    return sorted(seen, key=lambda pair: -pair[1])
