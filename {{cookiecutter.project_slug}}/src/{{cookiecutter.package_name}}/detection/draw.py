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
    if target is not None:
        pen = ImageDraw.Draw(picture)
        for box in _scaled(target.boxes, picture):
            pen.rectangle(box, outline="white", width=max(1, picture.width // 500))
    labels, scores = prediction.labels.tolist(), prediction.scores.tolist()
    texts = [f"{classes[label]}: {score:.0%}" for label, score in zip(labels, scores, strict=True)]
    # Boxes with low scores first, so that boxes with high scores are on top.
    _draw_boxes(picture, prediction.boxes.flip(0), labels[::-1], texts[::-1])
    if target is None:  # the boxes have the names of their classes
        return picture
    shown = [(classes[label], class_color(label)) for label in sorted({*labels})]
    return with_legend(picture, [("annotated", "white"), *shown])


# ~ if cookiecutter.scope == "complete"
def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """Draw the annotated boxes on an image, uint8 [C, H, W]."""
    picture, labels = to_picture(image, MIN_WIDTH), target.labels.tolist()
    _draw_boxes(picture, target.boxes, labels, [classes[label] for label in labels])
    return picture


# ~ endif
def _scaled(boxes: Tensor, picture: Image.Image) -> list[list[float]]:
    size = boxes.new_tensor([picture.width - 1, picture.height - 1])
    pixels: list[list[float]] = (boxes.clamp(0, 1).double() * size.repeat(2)).tolist()
    return pixels


def _draw_boxes(
    picture: Image.Image, boxes: Tensor, labels: Sequence[int], texts: Sequence[str]
) -> None:
    """Draw boxes, each with its text above it, or in it at the upper edge of the picture.

    At the right edge of the picture, a text is moved to the left.
    """
    pen, width = ImageDraw.Draw(picture), picture.width
    for box, label, text in zip(_scaled(boxes, picture), labels, texts, strict=True):
        color = class_color(label)
        pen.rectangle(box, outline=color, width=max(2, width // 250))
        shown, font = fit_text(text, max(12, width // 45), width - 5)
        left, _, right, bottom = pen.textbbox((0, 0), shown, font=font)
        above = box[1] - bottom - 2
        x = max(0, min(box[0], width - (right - left + 5)))
        y = above if above >= 0 else box[1]
        pen.rectangle((x, y, x + right - left + 4, y + bottom + 2), color)
        pen.text((x + 2, y), shown, "white", font)


def caption(_target: Target | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the class and the score of each predicted object, sorted by descending score."""
    objects = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return ", ".join(f"{classes[label]} {score:.0%}" for label, score in objects) or "nothing"
