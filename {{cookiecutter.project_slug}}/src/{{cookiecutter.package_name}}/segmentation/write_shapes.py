"""Write the generated data set as images and masks, so that it is read like a user's data."""

from pathlib import Path

import numpy as np
import torch

from ..data.shapes import CLASSES, Images, draw_shapes, write_once
from ..settings.data import ShapesSettings
from .predicted_masks import mask_image

_VERSION = 1  # increase it when the same settings draw different images
_MAX_SHAPES = 3  # maximum number of shapes in an image
_NAMES = ("background", *CLASSES)


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder, which contains ``images/``, ``masks/`` and ``classes.txt``.
    """

    def write(folder: Path, images: Images) -> None:
        for split, index, rng in images:
            image, shapes = draw_shapes(rng, settings.input_size, _MAX_SHAPES)
            ids = np.zeros(settings.input_size, dtype=np.uint8)
            for kind, pixels in shapes:
                ids[pixels] = _NAMES.index(kind)
            mask = mask_image(torch.from_numpy(ids))
            for name, picture in (("images", image), ("masks", mask)):
                path = folder / name / split / f"{index:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
        (folder / "classes.txt").write_text("\n".join(_NAMES) + "\n", encoding="utf-8")

    recipe = ["masks", _VERSION, settings.image_size]
    return write_once(settings.root, settings.counts, recipe, write)
