"""Draw images with their targets and predictions, and describe predictions in words."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..evaluation.drawing import to_picture
from .dataset import UNLABELLED, Prediction

RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#0b4f8a"
MIN_WIDTH = 168
FONT_SIZE = 13


def draw_prediction(
    image: Tensor, target: int, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw an image above its caption, which is green if the prediction is correct, else red.

    Args:
        image: uint8 tensor [C, H, W].
        target: class index, or ``UNLABELLED``; the caption is then blue.
        prediction: the predicted class and its confidence.
        classes: the class names.
    """
    picture = to_picture(image)
    if picture.width < MIN_WIDTH:
        factor = math.ceil(MIN_WIDTH / picture.width)
        picture = picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    color = {UNLABELLED: NEUTRAL, prediction.label: RIGHT}.get(target, WRONG)
    lines = caption(target, prediction, classes).split("\n")
    return _captioned(picture, lines, color)


def draw_target(image: Tensor, _target: object, _classes: Sequence[str]) -> Image.Image:
    """Convert an image, uint8 [C, H, W]; its class is not drawn, since the path shows it."""
    return to_picture(image)


def caption(target: int, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the predicted class and, if it is wrong, a second line with the true class."""
    text = f"{classes[prediction.label]} {prediction.confidence:.0%}"
    return text if target in {prediction.label, UNLABELLED} else f"{text}\nis {classes[target]}"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """Return the columns of a prediction in the table of predictions."""
    return {"label": classes[prediction.label], "confidence": round(prediction.confidence, 6)}


def _captioned(picture: Image.Image, lines: Sequence[str], color: str) -> Image.Image:
    size = max(FONT_SIZE, picture.width // 32)
    font = ImageFont.load_default(size)
    height = 2 * (size + 6) + 4  # two lines, so that all images of a sheet have the same size
    tile = Image.new("RGB", (picture.width, picture.height + height), color)
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for row, line in enumerate(lines):
        pen.text(
            (6, picture.height + 4 + row * (size + 6)),
            _shortened(line, font, picture.width - 12),
            "white",
            font,
        )
    return tile


def _shortened(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while font.getlength(line) > width and len(line) > 1:
        line = line[:-2] + "…"
    return line
