"""Predicted masks: remove the padding, restore the size of the image, and write them."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from ..data.resize import GREY, place
from ..evaluation.drawing import class_color
from ..run.atomic_files import replacing, write_text
from ..settings.segmentation import DataSettings
from .class_list import IGNORE_INDEX


class Prediction(NamedTuple):
    """The predicted class of each pixel of an image."""

    mask: Tensor  # uint8 [H, W] of class ids


def mask_image(mask: Tensor) -> Image.Image:
    """Convert class ids, a uint8 tensor [H, W], to an image with a palette of class colours."""
    image = Image.fromarray(mask.numpy())
    image.putpalette(palette())
    return image


def palette() -> list[int]:
    """Return red, green and blue of each id; id 0 is black and ``IGNORE_INDEX`` white."""
    # With fewer than 256 colours, PNG would store the ids in fewer bits and lose IGNORE_INDEX.
    return [0, 0, 0, *chain(*map(class_color, range(IGNORE_INDEX - 1))), 255, 255, 255]


def without_padding(prediction: Prediction, image: Tensor, target: Tensor) -> Prediction:
    """Return the mask with ``IGNORE_INDEX`` where the model input [C, H, W] is padded with grey."""
    padding = (image == GREY).all(dim=0) & (target == IGNORE_INDEX)
    return Prediction(prediction.mask.masked_fill(padding, IGNORE_INDEX))


def restored(prediction: Prediction, size: tuple[int, int], settings: DataSettings) -> Prediction:
    """Return the mask of an image file of this height and width from that of the model input."""
    return Prediction(from_input(prediction.mask[None], size, settings, IGNORE_INDEX)[0])


def from_input(values: Tensor, size: tuple[int, int], settings: DataSettings, fill: int) -> Tensor:
    """Map values [N, H, W] from the model input to an image of this height and width.

    Parts of the image that ``data.fit=crop`` has cut off become ``fill``.
    """
    placement = place(size, settings)
    (height, width), (rows, columns), (top, left) = *placement, placement.corner
    edges = (-left, left + columns - width, -top, top + rows - height)
    part = pad(values, edges, value=fill)  # a negative number cuts off
    resized: Tensor = resize(part, list(size), InterpolationMode.NEAREST_EXACT)
    return resized


def save_results(
    predicted: Iterable[tuple[Path, str, Prediction, tuple[int, int]]],
    classes: Sequence[str],
    folder: Path,
) -> None:
    """Write ``masks/<name>.png``, palette images of class ids, and ``masks/classes.txt``.

    The latter has the name and the colour of each class, as ``read_classes`` reads them. For each
    image, ``predicted`` has its path, the name of its output files, its prediction and its size.
    """
    colors = palette()
    lines = [
        f"{name} {' '.join(map(str, colors[3 * index : 3 * index + 3]))}\n"
        for index, name in enumerate(classes)
    ]
    for _path, name, prediction, _size in predicted:
        if not (folder / "masks").is_dir():
            write_text(folder / "masks" / "classes.txt", "".join(lines))
        with replacing(folder / "masks" / f"{name}.png") as hidden:
            mask_image(prediction.mask).save(hidden)
