"""Write the generated data set as class folders, so that it is read like a user's data."""

from pathlib import Path

from ..data.shapes import CLASSES, Images, draw_shape, write_once
from ..settings.data import ShapesSettings

_VERSION = 2  # increase it when the same settings draw different images


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder, which contains ``train/``, ``val/`` and ``test/``.
    """

    def write(folder: Path, images: Images) -> None:
        for split, index, rng in images:
            kind = CLASSES[index % len(CLASSES)]
            path = folder / split / kind / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_shape(rng, kind, settings.input_size).save(path)

    recipe = ["folders", _VERSION, settings.image_size]
    return write_once(settings.root, settings.counts, recipe, write)
