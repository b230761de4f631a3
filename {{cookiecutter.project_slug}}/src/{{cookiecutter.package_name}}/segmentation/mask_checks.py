"""Check the files of masks and images before the first step of a training."""

from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

# ~ if cookiecutter.scope == "complete"
from ..data.checks import CHECKED, check_sizes
# ~ else
from ..data.checks import CHECKED
# ~ endif
from ..data.datamodule import Datasets
from ..data.images import UnreadableImageError, size_conflict
from ..data.pixels import UNREADABLE, orientation_of
# ~ if cookiecutter.scope == "complete"
from .dataset import MaskFiles
# ~ endif
from .masks import Classes, read_mask


def check_files(datasets: Datasets) -> None:
    """Check the sizes of masks by the headers of files, and the values that were looked at.

    Values of further masks are checked when the data loader reads them.

    Raises:
        UnreadableImageError: for the first mask that has another size than its image or a value of
            no class, or cannot be read, or for an image of another size than its annotations say.
    """
    images: dict[str, str] = {}  # by mask; the test may repeat val
    for split in ("train", "val", "test"):
        dataset: Any = getattr(datasets, split)
        # ~ if cookiecutter.scope == "complete"
        if not isinstance(dataset.masks, MaskFiles):
            records = map(dataset.masks.record, range(len(dataset.masks)))
            check_sizes({str(image.path): (image.height, image.width) for image in records})
            continue
        # ~ endif
        images |= zip(dataset.masks.paths.tolist(), dataset.masks.images.tolist(), strict=True)
        if path := datasets.reading.sampled.get(split, {}).get("refused"):
            _read(path, dataset.masks.classes)
    masks = [*images]
    for index in np.linspace(0, len(masks) - 1, min(CHECKED, len(masks))).astype(int):
        _check_size(masks[index], images[masks[index]])


def _read(path: str, classes: Classes) -> None:
    """Read a mask, which raises an error that names what is wrong."""
    try:
        with Image.open(path) as mask:
            size = mask.height, mask.width
    except UNREADABLE as error:
        raise UnreadableImageError(path, str(error)) from error
    read_mask(path, classes, size)


def _check_size(mask_file: str, image_file: str) -> None:
    with suppress(*UNREADABLE), Image.open(mask_file) as mask, Image.open(image_file) as image:
        size, expected = (mask.height, mask.width), (image.height, image.width)
        # The orientation is read for few files, since Pillow decodes a PNG to find it.
        if size == expected[::-1] and max(map(orientation_of, (mask, image))) >= 5:
            return
        if size != expected:
            raise UnreadableImageError(mask_file, size_conflict(size, expected, "image is"))
