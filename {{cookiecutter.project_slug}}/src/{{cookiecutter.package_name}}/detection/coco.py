"""Convert annotated boxes from COCO format, and predicted boxes to COCO's and to our own format."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.coco import CocoImage, CocoObject, read_coco
from ..data.reading_summary import Reading
from ..errors import UsageError
from ..run.atomic_files import write_json
from ..settings.data import DataFolder
from .boxes import BEYOND, MANY, NO_AREA, OUTSIDE, AnnotatedImage, AnnotatedObject, Prediction

SLACK_PIXELS = 1  # a box may exceed the image by this much, because of rounding


def read_boxes(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the class names of COCO data, and the annotated images by split, see ``read_coco``."""
    classes, splits = read_coco(root, settings, reading)
    for split, images in splits.items():
        _check_sizes(images, reading, split)
    return classes, from_coco(splits, reading)


def from_coco(
    splits: Mapping[str, Sequence[CocoImage]], reading: Reading
) -> dict[str, list[AnnotatedImage]]:
    """Convert the boxes of COCO annotations, and clip them to their images.

    Boxes without an area within their image are left out and counted.

    Raises:
        UsageError: if the ``bbox`` of an annotation is not a list of four numbers.
    """
    return {
        split: [_annotated(image, reading, split) for image in images]
        for split, images in splits.items()
    }


def _annotated(image: CocoImage, reading: Reading, split: str) -> AnnotatedImage:
    objects, faults = [], []
    known: set[tuple[object, ...]] = set()
    for annotation in image.objects:
        x, y, width, height = bbox = _bbox(image, annotation)
        right, bottom = x + width, y + height
        x1, y1 = max(x, 0), max(y, 0)
        x2, y2 = min(right, image.width), min(bottom, image.height)
        key = (annotation.label, annotation.crowd, *bbox)
        repeated = key in known
        known.add(key)
        if repeated or x1 >= x2 or y1 >= y2:
            reason = "repeated" if repeated else OUTSIDE if min(width, height) > 0 else NO_AREA
            faults.append(f"annotation {annotation.id}: {reason}: {annotation.content['bbox']}")
            if not annotation.crowd:  # crowds have been counted as left out already
                reading.leave_out("objects", reason, image.source, split=split)
            continue
        if max(x1 - x, y1 - y, right - x2, bottom - y2) > SLACK_PIXELS:
            faults.append(f"annotation {annotation.id}: {BEYOND}: {annotation.content['bbox']}")
        box = [x1 / image.width, y1 / image.height, x2 / image.width, y2 / image.height]
        share = _area(image, annotation, (x2 - x1) * (y2 - y1)) / (image.width * image.height)
        objects.append(AnnotatedObject(box, annotation.label, share, annotation.crowd))
    return AnnotatedImage(image.path, objects, (image.height, image.width), tuple(faults))


def _area(image: CocoImage, annotation: CocoObject, of_box: float) -> float:
    """Return the annotated area in pixels, or that of the box if there is none."""
    try:
        area = float(annotation.content.get("area") or of_box)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{image.source}: the area of annotation {annotation.id} is not a number."
        ) from error
    return area if 0 < area < math.inf else of_box


def _check_sizes(images: Sequence[CocoImage], reading: Reading, split: str) -> None:
    """Check that the last two numbers of the boxes are width and height, not a second corner.

    If all of ``MANY`` boxes or more could be corners, but their areas do not tell, this is noted.

    Raises:
        UsageError: if the areas of all boxes are those between corners.
    """
    count, are_corners = 0, True
    for image in images:
        for annotation in image.objects:
            x, y, right, bottom = _bbox(image, annotation)
            area, between = annotation.content.get("area"), (right - x) * (bottom - y)
            area = area if isinstance(area, int | float) else 0
            if right <= x or bottom <= y or area > 1.01 * between:
                return  # these numbers cannot be a second corner
            count += 1
            are_corners = are_corners and area > 0.99 * between and (x, y) != (0, 0)
    if not count:
        return
    bbox = annotation.content["bbox"]
    found = f"{image.source}: each box of {split} may be two corners, such as {bbox}"
    if are_corners:
        raise UsageError(
            f"{found}, whose area is given as {area}.\nCOCO's boxes are [x, y, width, height]: "
            "subtract the first corner from the second one."
        )
    if count >= MANY:
        reading.note(
            f"{found}. They are read as [x, y, width, height]: check this in the pictures of "
            "predictions, which show the boxes, too."
        )


def _bbox(image: CocoImage, annotation: CocoObject) -> list[float]:
    bbox = annotation.content.get("bbox")
    # Python counts True and False as 1 and 0. Some tools write numbers as texts.
    if isinstance(bbox, list) and len(bbox) == 4 and bool not in map(type, bbox):
        with suppress(TypeError, ValueError):
            numbers = [*map(float, bbox)]
            if all(map(math.isfinite, numbers)):
                return numbers
    raise UsageError(
        f"{image.source}: annotation {annotation.id} has the bbox {bbox}, which is not four "
        "numbers.\nCOCO's boxes are [x, y, width, height] in pixels."
    )


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> list[list[float]]:
    """Convert relative boxes [N, 4] to x, y, width and height in pixels of an image of ``size``."""
    height, width = size
    x1, y1, x2, y2 = boxes.detach().cpu().double().unbind(dim=1)
    converted = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
    pixels: list[list[float]] = torch.stack(converted, dim=1).tolist()
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
