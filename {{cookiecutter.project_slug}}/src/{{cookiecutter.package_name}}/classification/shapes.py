"""Write the embedded data as class folders, the format of a user's own images."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from ..data.shapes import CLASSES, draw_scene
from .settings import ShapesSettings

_VERSION = 1  # raise it when the same settings draw other pictures
_SEEDS = {"train": 0, "val": 1, "test": 2}


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the images once; later runs find them.

    The folder's name holds a fingerprint of what was asked for, so other settings get another
    folder. Everything is drawn beside it and renamed at the end: it is whole or not there.

    Returns:
        The folder with ``train/ val/ test/``.
    """
    counts = {
        "train": settings.train_images,
        "val": settings.val_images,
        "test": settings.test_images,
    }
    recipe = json.dumps([_VERSION, settings.image_size, counts])
    folder = settings.root / hashlib.sha256(recipe.encode()).hexdigest()[:8]
    if folder.is_dir():
        return folder
    settings.root.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".drawing-", dir=settings.root))
    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    for split, index in track(jobs, description=f"Drawing shapes into {folder}", transient=True):
        kind = CLASSES[index % len(CLASSES)]
        image = draw_scene(np.random.default_rng([_SEEDS[split], index]), kind, settings.image_size)
        path = beside / split / kind / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    try:
        beside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(beside)  # another process was faster
    return folder
