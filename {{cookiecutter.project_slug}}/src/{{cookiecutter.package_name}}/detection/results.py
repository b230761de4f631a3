"""Write predictions in the COCO results format."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from ..run.files import write_json
from .boxes import Prediction
from .metrics import results


def save_results(
    predicted: Sequence[tuple[Path, str, Prediction]], classes: Sequence[str], folder: Path
) -> None:
    """Write ``coco_results.json``, and ``coco_images.json`` with the images and categories.

    Args:
        predicted: the path of each image, the name of its output files, and its prediction.
        classes: the class names; the category ids start at 1.
        folder: the folder to write to.
    """
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for image_id, (path, _, prediction) in enumerate(predicted, start=1):
        with Image.open(path) as file:
            width, height = ImageOps.exif_transpose(file).size
        images.append({"id": image_id, "file_name": str(path), "width": width, "height": height})
        boxes += [
            {**box, "image_id": image_id, "category_id": box["category_id"] + 1}
            for box in results(prediction, (height, width))
        ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    write_json(folder / "coco_images.json", {"images": images, "categories": categories})
    write_json(folder / "coco_results.json", boxes)
