"""How this task looks: the only place that knows."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .dataset import UNLABELLED, Prediction

RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#0b4f8a"
LEAST_WIDTH = 168
FONT_SIZE = 13


def draw_prediction(
    image: Tensor, target: int, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """The image over a line that says what it is taken for, green if right and red if wrong.

    Args:
        image: uint8 tensor [3, H, W].
        target: class index, or ``UNLABELLED``.
        prediction: label and confidence of this image.
        classes: the names.
    """
    picture = to_pil_image(image)
    if picture.width < LEAST_WIDTH:
        factor = math.ceil(LEAST_WIDTH / picture.width)
        picture = picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    color = {UNLABELLED: NEUTRAL, prediction.label: RIGHT}.get(target, WRONG)
    lines = caption(target, prediction, classes).split("\n")
    return _captioned(picture, lines, color)


def draw_target(image: Tensor, _target: object, _classes: Sequence[str]) -> Image.Image:
    """The image: its class stands in its path."""
    picture: Image.Image = to_pil_image(image)
    return picture


def caption(target: int, prediction: Prediction, classes: Sequence[str]) -> str:
    """What the image is taken for, and below, if that is wrong, what it is."""
    said = f"{classes[prediction.label]} {prediction.confidence:.0%}"
    return said if target in {prediction.label, UNLABELLED} else f"{said}\nis {classes[target]}"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """One row of the table of predictions."""
    return {"label": classes[prediction.label], "confidence": round(prediction.confidence, 6)}


def _captioned(picture: Image.Image, lines: Sequence[str], color: str) -> Image.Image:
    size = max(FONT_SIZE, picture.width // 32)
    font = ImageFont.load_default(size)
    height = 2 * (size + 6) + 4  # room for two lines: tiles of one sheet are alike
    tile = Image.new("RGB", (picture.width, picture.height + height), color)
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for row, line in enumerate(lines):
        pen.text(
            (6, picture.height + 4 + row * (size + 6)),
            _fitting(line, font, picture.width - 12),
            "white",
            font,
        )
    return tile


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    while font.getlength(line) > width and len(line) > 1:
        line = line[:-2] + "…"
    return line
