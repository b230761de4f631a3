"""Write the generated data set in COCO format, so that it is read like a user's data."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data.shapes import CLASSES, draw_shapes, write_once
from ..settings.data import ShapesSettings

_VERSION = 1  # increase it when the same settings draw different images
_MAX_SHAPES = 3  # maximum number of shapes in an image


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder, which contains ``annotations/<split>.json`` and ``<split>/`` for each split.
    """
    height, width = settings.input_size
    images: dict[str, list[dict[str, Any]]] = defaultdict(list)
    annotations: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def write(folder: Path, split: str, index: int, rng: np.random.Generator) -> None:
        image, shapes = draw_shapes(rng, settings.input_size, _MAX_SHAPES)
        path = folder / split / f"{index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        entry = {"id": index + 1, "file_name": path.name, "width": width, "height": height}
        images[split].append(entry)
        for kind, pixels in shapes:
            annotations[split].append(
                {
                    "id": len(annotations[split]) + 1,
                    "image_id": index + 1,
                    "category_id": CLASSES.index(kind) + 1,
                    "bbox": _bbox(pixels),
                    "area": int(pixels.sum()),
                    "iscrowd": 0,
                }
            )

    def finish(folder: Path) -> None:
        (folder / "annotations").mkdir()
        categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]
        for split, listed in images.items():
            content = {
                "images": listed,
                "annotations": annotations[split],
                "categories": categories,
            }
            path = folder / "annotations" / f"{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")

    return write_once(
        settings.root, settings.counts, ["boxes", _VERSION, settings.image_size], write, finish
    )


def _bbox(pixels: np.ndarray) -> list[int]:
    """Return x, y, width and height of the box around the true pixels of a bool array [H, W]."""
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
