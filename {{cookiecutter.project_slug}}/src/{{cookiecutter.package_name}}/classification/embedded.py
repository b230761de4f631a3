"""Write the embedded data set as class folders, like a data set of the user."""

from pathlib import Path

import numpy as np

from ..data.shapes import CLASSES, draw_scene, write_once
from ..settings.classification import ShapesSettings

_VERSION = 2  # to be raised when the same settings draw other images


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder with ``train/ val/ test/``.
    """

    def write(folder: Path, split: str, index: int, rng: np.random.Generator) -> None:
        kind = CLASSES[index % len(CLASSES)]
        path = folder / split / kind / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(rng, kind, settings.image_size).save(path)

    return write_once(
        settings.root, settings.counts, ["folders", _VERSION, settings.image_size], write
    )
