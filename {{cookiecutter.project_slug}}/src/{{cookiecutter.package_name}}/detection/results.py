"""Predictions in this task's standard form, COCO's results JSON."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from ..run.files import write_json
from .boxes import Prediction
from .metrics import results


def save_results(
    found: Sequence[tuple[Path, str, Prediction]], classes: Sequence[str], folder: Path
) -> None:
    """Write ``coco_results.json``, and ``coco_images.json`` that says what its ids stand for.

    Args:
        found: the image's path, its name among the outputs, and its boxes.
        classes: the names; category 1 is the first.
        folder: where the two files go.
    """
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for index, (path, _, prediction) in enumerate(found, start=1):
        with Image.open(path) as file:
            width, height = ImageOps.exif_transpose(file).size
        images.append({"id": index, "file_name": str(path), "width": width, "height": height})
        boxes += [
            {"image_id": index, **one, "category_id": one["category_id"] + 1}
            for one in results(prediction, (height, width))
        ]
    categories = [{"id": index, "name": name} for index, name in enumerate(classes, start=1)]
    write_json(folder / "coco_images.json", {"images": images, "categories": categories})
    write_json(folder / "coco_results.json", boxes)
