"""Write the generated data set in COCO format, so that it is read like a user's data."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.shapes import CLASSES, Images, draw_shapes, write_once
from ..settings.data import ShapesSettings

_VERSION = 1  # increase it when the same settings draw different images
_MAX_SHAPES = 3  # maximum number of shapes in an image


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the data set, unless it exists already.

    Returns:
        The folder, which contains ``annotations/<split>.json`` and ``<split>/`` for each split.
    """
    height, width = settings.input_size
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASSES, start=1)]

    def write(folder: Path, images: Images) -> None:
        files: dict[str, dict[str, list[dict[str, Any]]]] = {
            split: {"images": [], "annotations": [], "categories": categories}
            for split in settings.counts
        }
        for split, index, rng in images:
            image, shapes = draw_shapes(rng, settings.input_size, _MAX_SHAPES)
            path = folder / split / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
            entry = {"id": index + 1, "file_name": path.name, "width": width, "height": height}
            files[split]["images"].append(entry)
            objects = files[split]["annotations"]
            for kind, pixels in shapes:
                left, top, right, bottom = Image.fromarray(pixels).getbbox() or (0, 0, 0, 0)
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": index + 1,
                        "category_id": CLASSES.index(kind) + 1,
                        "bbox": [left, top, right - left, bottom - top],
                        "area": int(pixels.sum()),
                        "iscrowd": 0,
                    }
                )
        (folder / "annotations").mkdir()
        for split, content in files.items():
            path = folder / "annotations" / f"{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")

    recipe = ["boxes", _VERSION, settings.image_size]
    return write_once(settings.root, settings.counts, recipe, write)
