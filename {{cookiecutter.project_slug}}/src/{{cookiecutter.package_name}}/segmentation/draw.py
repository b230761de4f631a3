"""Draw images with their targets and predictions, and measure the area of each class."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageFilter
from torch import Tensor

from ..evaluation.drawing import side_by_side, to_picture, with_legend
from .class_list import IGNORE_INDEX
from .predicted_masks import Prediction, mask_image, palette

MIN_WIDTH = 256
STRENGTH = 0.55  # opacity of the colours over the image
LARGEST, SMALLEST = ImageFilter.MaxFilter(5), ImageFilter.MinFilter(5)  # within two pixels


def draw_prediction(
    image: Tensor, target: Tensor | None, prediction: Prediction, classes: Sequence[str]
) -> Image.Image:
    """Draw the predicted mask over an image and, if given, the target over a second copy.

    The image is uint8 [C, H, W], the target uint8 [H, W] of class ids. Masks are resized to the
    image.
    """
    picture = to_picture(image, MIN_WIDTH)
    masks = [("prediction", prediction.mask)]
    if target is not None:
        masks.append(("target", target))
    tiles = [_overlaid(picture, mask, title, _present(mask, classes)) for title, mask in masks]
    return side_by_side(tiles)


# ~ if cookiecutter.scope == "complete"
def draw_target(image: Tensor, target: Tensor, classes: Sequence[str]) -> Image.Image:
    """Draw a mask, uint8 [H, W], over its image, uint8 [C, H, W]."""
    return _overlaid(to_picture(image, MIN_WIDTH), target, "target", _present(target, classes))


def draw_frame(image: Tensor, prediction: Prediction, classes: Sequence[str]) -> Image.Image:
    """Draw the predicted mask over a frame of a video, uint8 [C, H, W].

    The legend has all classes, so that all frames of a video have the same size.
    """
    picture = to_picture(image, MIN_WIDTH)
    return _overlaid(picture, prediction.mask, "prediction", enumerate(classes))


# ~ endif
def _present(mask: Tensor, classes: Sequence[str]) -> list[tuple[int, str]]:
    """Return the labels and the names of the classes in a mask."""
    return [(label, classes[label]) for label in sorted(_shares(mask, classes))]


def _overlaid(
    picture: Image.Image, mask: Tensor, title: str, legend: Iterable[tuple[int, str]]
) -> Image.Image:
    """Draw a mask over a picture, with the names and colours of the classes in ``legend`` below.

    Pixels of class 0, which is black in masks, and of ``IGNORE_INDEX`` keep the colour of the
    picture; the legend names class 0 only if it is not the background. Outlines have the colour of
    their class, and areas a mixture of it and grey.
    """
    resized = mask_image(mask).resize(picture.size, Image.Resampling.NEAREST)
    colors, ids = resized.convert("RGB"), np.asarray(resized)
    areas = Image.fromarray(ids)
    edges = ImageChops.difference(areas.filter(LARGEST), areas.filter(SMALLEST))
    colored = Image.blend(picture.convert("L").convert("RGB"), colors, STRENGTH)
    colored.paste(colors, mask=edges.point(lambda step: 255 * (step > 0)))
    colored.paste(picture, mask=Image.fromarray((ids == 0) | (ids == IGNORE_INDEX)))
    entries: list[tuple[str, tuple[int, ...] | None]] = [(title, None)]
    for label, name in legend:
        color = tuple(palette()[3 * label :][:3])
        if label:
            entries.append((name, color))
        elif name.casefold() != "background":
            entries.append((f"{name} (not coloured)", None))
    return with_legend(colored, entries)


def caption(_target: Tensor | None, prediction: Prediction, classes: Sequence[str]) -> str:
    """Return the names of the predicted classes, sorted by descending area."""
    return ", ".join(classes[label] for label in _shares(prediction.mask, classes))


def describe(prediction: Prediction, classes: Sequence[str]) -> dict[str, object]:
    """Return the columns of the table of predictions: the fraction of the image for each class."""
    shares = _shares(prediction.mask, classes)
    return {
        # The column `image` has the path.
        f"{name} (class)" if name == "image" else name: round(shares.get(label, 0.0), 6)
        for label, name in enumerate(classes)
    }


def _shares(mask: Tensor, classes: Sequence[str]) -> dict[int, float]:
    """Return the fraction of the area of each class in a mask by its label, the largest first."""
    counts = mask_image(mask).histogram()[: len(classes)]  # without IGNORE_INDEX
    labels = sorted(range(len(classes)), key=lambda label: -counts[label])
    return {label: counts[label] / sum(counts) for label in labels if counts[label]}
