"""Draw images with their targets and predictions."""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from ..evaluation.drawing import (
    LINE_GAP,
    MAX_LINES,
    class_color,
    fit_text,
    side_by_side,
    to_picture,
    with_legend,
)
from .boxes import Prediction, Target

MIN_WIDTH = 256


def draw_prediction(
    image: Tensor, target: Target | None, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw the predicted boxes on an image and, if given, the target boxes on a second copy.

    With target boxes, a legend of the colours is below each copy. The image is uint8 [C, H, W].
    """
    picture, labels = to_picture(image, MIN_WIDTH), prediction.labels.tolist()
    scores = zip(labels, prediction.scores.tolist(), strict=True)
    texts = [f"{classes[label]}: {score:.0%}" for label, score in scores]
    _draw_boxes(picture, prediction.boxes, labels, texts)
    if target is None:  # the boxes have the names of their classes
        return picture
    tiles = [("prediction", picture, labels)]
    tiles.append(("target", draw_target(image, target, classes), target.labels.tolist()))
    return side_by_side(
        [
            with_legend(tile, [(title, None), *_colors(present, classes)])
            for title, tile, present in tiles
        ]
    )


def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """Draw the annotated boxes on an image, uint8 [C, H, W]."""
    picture, labels = to_picture(image, MIN_WIDTH), target.labels.tolist()
    _draw_boxes(picture, target.boxes, labels, [classes[label] for label in labels])
    return picture


def _colors(labels: Sequence[int], classes: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    return [(classes[label], class_color(label)) for label in sorted({*labels})]


def _scaled(boxes: Tensor, picture: Image.Image) -> list[list[float]]:
    size = boxes.new_tensor([picture.width - 1, picture.height - 1])
    pixels: list[list[float]] = (boxes.clamp(0, 1).double() * size.repeat(2)).tolist()
    return pixels


def _draw_boxes(
    picture: Image.Image, boxes: Tensor, labels: Sequence[int], texts: Sequence[str]
) -> None:
    """Draw boxes, the first on top, each with its text above it, or in it if there is no place.

    A text is moved to the left at the right edge of the picture, and below the texts of earlier
    boxes if the picture is high enough.
    """
    pen, width = ImageDraw.Draw(picture), picture.width
    objects = list(zip(_scaled(boxes, picture), labels, texts, strict=True))
    for box, label, _ in objects[::-1]:
        pen.rectangle(box, outline=class_color(label), width=max(2, width // 250))
    taken: list[tuple[float, float, float, float]] = []  # the places of texts
    for box, label, text in objects:
        shown, font = fit_text(text, max(12, width // 45), width - 5, MAX_LINES)
        left, _, right, bottom = pen.textbbox((0, 0), shown, font=font, spacing=LINE_GAP)
        across, down = right - left + 4, bottom + 2
        x = max(0, min(box[0], width - across - 1))
        start = y = box[1] - down if box[1] >= down else box[1]
        while below := [
            end
            for first, top, last, end in taken
            if first <= x + across and x <= last and top <= y + down and y <= end
        ]:
            y = max(below) + 1
        if y + down >= picture.height:
            y = start
        taken.append((x, y, x + across, y + down))
        pen.rectangle(taken[-1], class_color(label))
        pen.text((x + 2, y), shown, "white", font, spacing=LINE_GAP)


def caption(_target: Target | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the class and the score of each predicted object, sorted by descending score."""
    objects = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return ", ".join(f"{classes[label]} {score:.0%}" for label, score in objects) or "nothing"
