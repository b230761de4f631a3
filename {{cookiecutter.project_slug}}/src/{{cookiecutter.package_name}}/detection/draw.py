"""Draw images with their targets and predictions."""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from ..evaluation.drawing import class_color, fit_text, to_picture, with_legend
from .boxes import Prediction, Target

MIN_WIDTH = 256


def draw_prediction(
    image: Tensor, target: Target | None, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw the predicted boxes on an image, and the target boxes, if given, in thin white lines.

    With target boxes, a legend of the colours is below the image, which is uint8 [C, H, W].
    """
    picture = to_picture(image, MIN_WIDTH)
    pen, objects = ImageDraw.Draw(picture), prediction.labels.tolist()
    width = max(2, picture.width // 250)
    if target is not None:
        for box in _scaled(target.boxes, picture):
            pen.rectangle(box, outline="white", width=max(1, width // 2))
    boxes = _scaled(prediction.boxes, picture)
    # Boxes with low scores first, so that boxes with high scores are on top.
    for box, label, score in reversed(
        list(zip(boxes, objects, prediction.scores.tolist(), strict=True))
    ):
        pen.rectangle(box, outline=class_color(label), width=width)
        text = f"{classes[label]}: {score:.0%}"
        _write(pen, picture.width, box, text, class_color(label))
    if target is None:  # the boxes have the names of their classes
        return picture
    shown = [(classes[label], class_color(label)) for label in sorted({*objects})]
    return with_legend(picture, [("annotated", "white"), *shown])


# ~ if cookiecutter.scope == "complete"
def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """Draw the annotated boxes on an image, uint8 [C, H, W]."""
    picture = to_picture(image, MIN_WIDTH)
    pen = ImageDraw.Draw(picture)
    for box, label in zip(_scaled(target.boxes, picture), target.labels.tolist(), strict=True):
        pen.rectangle(box, outline=class_color(label), width=max(2, picture.width // 250))
        _write(pen, picture.width, box, classes[label], class_color(label))
    return picture


# ~ endif
def _scaled(boxes: Tensor, picture: Image.Image) -> list[tuple[float, float, float, float]]:
    width, height = picture.width - 1, picture.height - 1
    return [
        (left * width, top * height, right * width, bottom * height)
        for left, top, right, bottom in boxes.clamp(0, 1).tolist()
    ]


def _write(
    pen: ImageDraw.ImageDraw,
    width: int,
    box: tuple[float, float, float, float],
    text: str,
    color: tuple[int, int, int],
) -> None:
    """Write a text on its colour above a box, or in the box at the upper edge of the picture.

    At the right edge of the picture, which is ``width`` pixels wide, the text is moved to the left.
    """
    text, font = fit_text(text, max(12, width // 45), width - 5)
    left, _, right, bottom = pen.textbbox((0, 0), text, font=font)
    above = box[1] - bottom - 2
    x, y = box[0], above if above >= 0 else box[1]
    x = max(0, min(x, width - (right - left + 5)))
    pen.rectangle((x, y, x + right - left + 4, y + bottom + 2), color)
    pen.text((x + 2, y), text, "white", font)


def caption(_target: Target | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the class and the score of each predicted object, sorted by descending score."""
    objects = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return ", ".join(f"{classes[label]} {score:.0%}" for label, score in objects) or "nothing"
