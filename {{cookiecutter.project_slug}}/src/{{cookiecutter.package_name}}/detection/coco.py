"""Convert annotated boxes from COCO format, and predicted boxes to COCO's and to our own format."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_convert

from ..data.coco import CocoImage, CocoObject, read_coco
from ..data.reading_summary import Reading
from ..errors import UsageError
from ..run.atomic_files import write_json
from ..settings.data import DataFolder
from .boxes import MANY, AnnotatedImage, FoundObject, Prediction, annotate


def read_boxes(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the class names of COCO data, and the annotated images by split, see ``read_coco``."""
    classes, splits = read_coco(root, settings, reading)
    for images in splits.values():
        _check_sizes(images, reading)
    return classes, from_coco(splits, reading)


def from_coco(
    splits: Mapping[str, Sequence[CocoImage]], reading: Reading
) -> dict[str, list[AnnotatedImage]]:
    """Convert the boxes of COCO annotations, see ``annotate``."""
    return {
        split: [
            annotate(
                image.path,
                (image.height, image.width),
                map(partial(_object, image), image.objects),
                "annotation {}".format,
                partial(reading.leave_out, "objects", file=image.source, split=split),
            )
            for image in images
        ]
        for split, images in splits.items()
    }


def _object(image: CocoImage, annotation: CocoObject) -> FoundObject:
    x, y, width, height = annotation.content["bbox"]
    area = annotation.content.get("area") or 0
    area = area / (image.width * image.height) if 0 < area < math.inf else 0
    right, bottom = x + width, y + height
    box = (x / image.width, y / image.height, right / image.width, bottom / image.height)
    return annotation.id, (box, annotation.label, area, annotation.crowd)


def _check_sizes(images: Sequence[CocoImage], reading: Reading) -> None:
    """Refuse boxes that are two corners by their areas; note boxes that may be corners."""
    objects = [item.content for image in images for item in image.objects]
    are_corners = bool(objects)
    for content in objects:
        x, y, right, bottom = content["bbox"]
        area, between = content.get("area") or 0, (right - x) * (bottom - y)
        if right <= x or bottom <= y or area > 1.01 * between:
            return  # these numbers cannot be a second corner
        are_corners = are_corners and area > 0.99 * between and (x, y) != (0, 0)
    if not are_corners and len(objects) < MANY:
        return
    found = f"{images[0].source}: each box may be two corners, such as {content['bbox']}"
    if are_corners:
        raise UsageError(
            f"{found}, whose area is given as {content['area']}.\nCOCO's boxes are [x, y, width, "
            "height]: subtract the first corner from the second one."
        )
    reading.note(
        f"{found}. They are read as [x, y, width, height]: check this in the pictures of "
        "predictions, which show the boxes, too."
    )


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> list[list[float]]:
    """Convert relative boxes [N, 4] to x, y, width and height in pixels of an image of ``size``."""
    corners = boxes.detach().cpu().double() * torch.tensor([size[1], size[0]] * 2)
    pixels: list[list[float]] = box_convert(corners, "xyxy", "xywh").tolist()
    return pixels


def coco_results(prediction: Prediction, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the boxes as COCO results without ``image_id``; ``category_id`` is the class index."""
    return [
        {"category_id": label, "bbox": box, "score": score}
        for label, box, score in zip(
            prediction.labels.tolist(),
            in_pixels(prediction.boxes, size),
            prediction.scores.tolist(),
            strict=True,
        )
    ]


def describe(
    prediction: Prediction, classes: Sequence[str], size: tuple[int, int]
) -> dict[str, object]:
    """Return the predicted objects of an image file, of the given height and width, for JSON.

    Returns:
        The ``width`` and ``height`` of the file in pixels, and ``objects``: for each the ``label``,
        the ``score`` and the ``box``, which is left, top, right and bottom in pixels.
    """
    objects = []
    for entry in coco_results(prediction, size):
        x, y, width, height = entry["bbox"]
        corners = [round(value, 2) for value in (x, y, x + width, y + height)]
        label, score = classes[entry["category_id"]], round(entry["score"], 6)
        objects.append({"label": label, "score": score, "box": corners})
    return {"width": size[1], "height": size[0], "objects": objects}


def table_rows(entry: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return a row for each object of an entry of ``predictions.json``.

    An image without objects has a row with empty cells.
    """
    nothing = {"label": None, "score": None, "box": [None] * 4}
    return [
        {
            "image": entry["image"],
            "label": found["label"],
            "score": found["score"],
            **dict(zip(("left", "top", "right", "bottom"), found["box"], strict=True)),
        }
        for found in entry["objects"] or [nothing]
    ]


def save_results(
    predicted: Iterable[tuple[Path, str, Prediction, tuple[int, int]]],
    classes: Sequence[str],
    folder: Path,
) -> None:
    """Write ``coco_results.json``, and ``coco_images.json`` with the images and categories.

    Category ids start at 1. Each element of ``predicted`` is the path of an image, the name of its
    output files, its prediction, and its height and width as it is shown. If ``predicted`` raises
    an error, the predictions before it are written.
    """
    images: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    try:
        for image_id, (path, _, prediction, size) in enumerate(predicted, start=1):
            image = {"id": image_id, "file_name": str(path), "width": size[1], "height": size[0]}
            images.append(image)
            boxes += [
                {**box, "image_id": image_id, "category_id": box["category_id"] + 1}
                for box in coco_results(prediction, size)
            ]
    finally:
        if images:
            write_json(folder / "coco_images.json", {"images": images, "categories": categories})
            write_json(folder / "coco_results.json", boxes)
