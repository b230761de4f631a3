"""How this task looks: the only place that knows."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .dataset import UNLABELLED
from .module import ClassificationModule, Prediction

mpl.use("Agg")

RIGHT, WRONG, NEUTRAL = "#1a7f37", "#cf222e", "#0b4f8a"
LEAST_WIDTH = 168
FONT_SIZE = 13
MOST_NUMBERED_CLASSES = 30


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
        factor = -(-LEAST_WIDTH // picture.width)
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


def draw_report(module: ClassificationModule, folder: Path) -> None:
    """Write what a test leaves to look at: ``confusion_matrix.png``."""
    _draw_confusion(module.counts, module.classes, folder / "confusion_matrix.png")


def _draw_confusion(counts: Tensor, classes: Sequence[str], path: Path) -> None:
    """A row is a target, a column a prediction; ``counts`` is int64 [classes, classes]."""
    matrix = counts.numpy()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(3.0 + 0.45 * len(classes), 18.0)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, label="share of the target's images", shrink=0.7)
    axes.set(xlabel="prediction", ylabel="target")
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= MOST_NUMBERED_CLASSES:
        for (row, column), count in np.ndenumerate(matrix):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=ink)
    figure.savefig(path, dpi=110)
    plt.close(figure)
