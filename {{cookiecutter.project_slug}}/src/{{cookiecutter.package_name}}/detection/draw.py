"""How this task looks: the only place that knows."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from ..evaluation.colors import class_color
from .boxes import Prediction, Target

LEAST_WIDTH = 256


def draw_prediction(
    image: Tensor, target: Target | None, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """The image with the predicted boxes, and thin white ones around the objects if known.

    Args:
        image: uint8 tensor [3, H, W].
        target: the objects, or None.
        prediction: boxes, scores and labels of this image.
        classes: the names.
    """
    picture = _enlarged(to_pil_image(image))
    pen = ImageDraw.Draw(picture)
    width = max(2, picture.width // 250)
    if target is not None:
        for box in _in_pixels(target.boxes, picture):
            pen.rectangle(box, outline="white", width=max(1, width // 2))
    font = ImageFont.load_default(max(12, picture.width // 45))
    boxes = _in_pixels(prediction.boxes, picture)
    # The weakest first, so that the strongest lie on top.
    for box, label, score in reversed(
        list(zip(boxes, prediction.labels.tolist(), prediction.scores.tolist(), strict=True))
    ):
        pen.rectangle(box, outline=class_color(label), width=width)
        _write(pen, box, f"{classes[label]} {score:.0%}", class_color(label), font)
    return picture


def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """The image with its boxes."""
    picture = _enlarged(to_pil_image(image))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, picture.width // 45))
    for box, label in zip(_in_pixels(target.boxes, picture), target.labels.tolist(), strict=True):
        pen.rectangle(box, outline=class_color(label), width=max(2, picture.width // 250))
        _write(pen, box, classes[label], class_color(label), font)
    return picture


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = math.ceil(LEAST_WIDTH / picture.width)
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST) if factor > 1 else picture


def _in_pixels(boxes: Tensor, picture: Image.Image) -> list[tuple[float, float, float, float]]:
    width, height = picture.width - 1, picture.height - 1
    return [
        (left * width, top * height, right * width, bottom * height)
        for left, top, right, bottom in boxes.clamp(0, 1).tolist()
    ]


def _write(
    pen: ImageDraw.ImageDraw,
    box: tuple[float, float, float, float],
    words: str,
    ink: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, _, right, bottom = pen.textbbox((0, 0), words, font=font)
    above = box[1] - bottom - 2
    place = (box[0], above if above >= 0 else box[1])
    pen.rectangle((place[0], place[1], place[0] + right - left + 4, place[1] + bottom + 2), ink)
    pen.text((place[0] + 2, place[1]), words, "white", font)


def caption(_target: Target | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """What was found and how surely, the most certain first."""
    found = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return ", ".join(f"{classes[label]} {score:.0%}" for label, score in found) or "nothing"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """One row of the table of predictions: how many objects there are, and which."""
    return {"objects": len(prediction.labels), "found": caption(None, prediction, classes)}
