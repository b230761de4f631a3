"""Draw images with their targets and predictions, and write predictions as rows of a table."""

from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from ..evaluation.drawing import LINE_GAP, MIN_FONT, fit_text, to_picture
# ~ if cookiecutter.scope == "complete"
from .dataset import UNLABELLED, Prediction, Target, target_labels

# ~ else
from .dataset import UNLABELLED, Prediction, Target

# ~ endif
RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#0b4f8a"
MIN_WIDTH = 192  # a name of 60 letters fits into two lines
FONT_SIZE = 13


def draw_prediction(
    image: Tensor, target: Target, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw an image, uint8 [C, H, W], above its caption.

    The caption is green if the prediction is correct, red if it is wrong, and blue if the target is
    ``UNLABELLED``.
    """
    lines = caption(target, prediction, classes).split("\n")
    color = WRONG if lines[1:] else RIGHT
    return _captioned(image, lines, NEUTRAL if target == UNLABELLED else color)


# ~ if cookiecutter.scope == "complete"
def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """Draw an image, uint8 [C, H, W], above its labels."""
    names = ", ".join(classes[label] for label in target_labels(target))
    return _captioned(image, [names or "no label"], NEUTRAL)


def caption(target: Target, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the predicted labels and, if they are wrong, a second line with the true labels."""
    pairs = zip(prediction.labels, prediction.confidences, strict=True)
    text = ", ".join(f"{classes[label]} {confidence:.0%}" for label, confidence in pairs)
    text = text or "no label"
    labels = target_labels(target)
    if target == UNLABELLED or labels == prediction.labels:
        return text
    return f"{text}\nis {', '.join(classes[label] for label in labels) or 'without a label'}"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """Return the columns of a prediction in the table of predictions.

    They are the five most probable classes with their probabilities, or, if images may have several
    labels, the labels separated by ``;`` and the probability of each class.
    """
    if prediction.probabilities is not None:
        names = ";".join(classes[label] for label in prediction.labels)
        values = zip(classes, prediction.probabilities, strict=True)
        return {"labels": names, **{f"p_{name}": round(value, 6) for name, value in values}}
    # ~ else
def caption(target: Target, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the predicted label and, if it is wrong, a second line with the true label."""
    text = f"{classes[prediction.label]} {prediction.confidence:.0%}"
    if target in {UNLABELLED, prediction.label}:
        return text
    return f"{text}\nis {classes[target]}"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """Return the five most probable classes and their probabilities as columns of the table."""
    # ~ endif
    columns: dict[str, object] = {}
    for place, (label, probability) in enumerate(prediction.ranking, start=1):
        suffix = f"_{place}" if place > 1 else ""
        columns[f"label{suffix}"] = classes[label]
        columns[f"confidence{suffix}"] = round(probability, 6)
    return columns


def _captioned(image: Tensor, lines: Sequence[str], color: str) -> Image.Image:
    picture = to_picture(image, MIN_WIDTH)
    size = max(FONT_SIZE, picture.width // 32)
    step = max(size + 6, 2 * (MIN_FONT + 2))  # two lines of small letters in place of a large one
    height = 2 * step + 4  # room for the target, so that all images of a sheet have the same size
    tile = Image.new("RGB", (picture.width, picture.height + height), color)
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for row, line in enumerate(lines):
        text, font = fit_text(line, size, picture.width - 12, lines=2)
        place = (6, picture.height + 4 + row * step)
        pen.text(place, text, "white", font, spacing=LINE_GAP)
    return tile
