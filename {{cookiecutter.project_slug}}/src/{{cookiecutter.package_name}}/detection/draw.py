"""How this task looks: the only place that knows."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from .boxes import Prediction, Target
from .module import DetectionModule

mpl.use("Agg")

LEAST_WIDTH = 256
GOLDEN = 0.618033988749895  # steps of the golden section: neighbours in index are far apart in hue


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
        pen.rectangle(box, outline=color(label), width=width)
        _write(pen, box, f"{classes[label]} {score:.0%}", color(label), font)
    return picture


def draw_target(image: Tensor, target: Target, classes: Sequence[str]) -> Image.Image:
    """The image with its boxes."""
    picture = _enlarged(to_pil_image(image))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, picture.width // 45))
    for box, label in zip(_in_pixels(target.boxes, picture), target.labels.tolist(), strict=True):
        pen.rectangle(box, outline=color(label), width=max(2, picture.width // 250))
        _write(pen, box, classes[label], color(label), font)
    return picture


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = -(-LEAST_WIDTH // picture.width)
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
    ink: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, _, right, bottom = pen.textbbox((0, 0), words, font=font)
    above = box[1] - bottom - 2
    place = (box[0], above if above >= 0 else box[1])
    pen.rectangle((place[0], place[1], place[0] + right - left + 4, place[1] + bottom + 2), ink)
    pen.text((place[0] + 2, place[1]), words, "white", font)


def color(label: int) -> str:
    """A colour for each class, as ``#rrggbb``; white is legible on it."""
    parts = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.85, 0.75)
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)


def caption(_target: Target | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """What was found and how surely, the most certain first."""
    found = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return ", ".join(f"{classes[label]} {score:.0%}" for label, score in found) or "nothing"


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """One row of the table of predictions: how many objects there are, and which."""
    return {"objects": len(prediction.labels), "found": caption(None, prediction, classes)}


def draw_report(module: DetectionModule, folder: Path) -> None:
    """Write what a test leaves to look at: ``AP_by_class.png``."""
    values = [value or 0.0 for value in module.by_class]
    figure, axes = plt.subplots(figsize=(6, 1.2 + 0.35 * len(module.classes)), layout="constrained")
    axes.barh(module.classes, values, color=[color(label) for label in range(len(values))])
    axes.set(xlabel="average precision, IoU 0.50 to 0.95", xlim=(0, 1))
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(folder / "AP_by_class.png", dpi=110)
    plt.close(figure)
