"""Write the generated data set as class folders, so that it is read like a user's data."""

from pathlib import Path

import numpy as np

from ..data.shapes import CLASSES, draw_shape, write_once
from ..settings.data import ShapesSettings

_VERSION = 2  # increase it when the same settings draw different images


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder, which contains ``train/``, ``val/`` and ``test/``.
    """

    def write(folder: Path, split: str, index: int, rng: np.random.Generator) -> None:
        kind = CLASSES[index % len(CLASSES)]
        path = folder / split / kind / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_shape(rng, kind, settings.input_size).save(path)

    return write_once(
        settings.root, settings.counts, ["folders", _VERSION, settings.image_size], write
    )
