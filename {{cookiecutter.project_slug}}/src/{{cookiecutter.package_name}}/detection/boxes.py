"""The types of annotated and predicted objects, and the conversion of COCO annotations.

Boxes are ``x1 y1 x2 y2`` relative to the width and height of the image, from 0 to 1, so that they
do not depend on the size of the image. Only COCO files and drawings use pixels.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.coco import CocoImage
from ..errors import UsageError

log = logging.getLogger(__name__)

SLACK_PIXELS = 1  # a box may exceed the image by this much, because of rounding


class Target(NamedTuple):
    """The annotated objects of an image."""

    boxes: Tensor  # float32 [N, 4]
    labels: Tensor  # int64 [N]
    crowd: Tensor  # bool [N]: true for a box around many objects, ignored by training and metrics
    areas: Tensor  # float32 [N], in pixels of the image file, for COCO's small, medium and large
    size: tuple[int, int]  # height and width of the image file


class Prediction(NamedTuple):
    """The objects that are detected in an image, sorted by descending score."""

    boxes: Tensor  # float32 [N, 4]
    scores: Tensor  # float32 [N], 0 to 1
    labels: Tensor  # int64 [N]


class AnnotatedImage(NamedTuple):
    """An image file and its annotated objects."""

    path: Path
    boxes: np.ndarray  # float32 [N, 4]
    labels: np.ndarray  # int64 [N]
    crowd: np.ndarray  # bool [N]
    areas: np.ndarray  # float32 [N], relative to the area of the image
    size: tuple[int, int]  # height and width; 0, 0 if the annotations have no size
    faults: tuple[str, ...] = ()  # descriptions of corrected mistakes in the annotations


def annotated_image(
    path: Path,
    rows: Sequence[tuple[list[float], int, bool, float]],
    size: tuple[int, int],
    faults: Sequence[str] = (),
) -> AnnotatedImage:
    """Build an ``AnnotatedImage`` from a row ``(box, label, crowd, area)`` for each object."""
    boxes, labels, crowd, areas = zip(*rows, strict=True) if rows else ((), (), (), ())
    return AnnotatedImage(
        path,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(crowd, dtype=bool),
        np.array(areas, dtype=np.float32),
        size,
        tuple(faults),
    )


def from_coco(images: Sequence[CocoImage]) -> list[AnnotatedImage]:
    """Convert the boxes of COCO annotations, and clip them to their images.

    Boxes without an area within their image are omitted; the number of such boxes is logged.

    Raises:
        UsageError: if the ``bbox`` of an annotation is not a list of four numbers.
    """
    # All boxes are converted at once, since a data set may have several hundred thousand.
    objects = [(image, annotation) for image in images for annotation in image.objects]
    owners = np.repeat(np.arange(len(images)), [len(image.objects) for image in images])
    sizes = np.array([(image.width, image.height) for image in images], dtype=np.float64)[owners]
    given = np.array(
        [
            _bbox(image.source, annotation.id, annotation.content.get("bbox"))
            for image, annotation in objects
        ],
        dtype=np.float64,
    ).reshape(-1, 4)
    corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
    edges = np.tile(sizes, 2)
    inside = corners.clip(0, edges)
    valid = np.all(inside[:, 2:] > inside[:, :2], axis=1)
    beyond = np.abs(corners - inside).max(axis=1) > SLACK_PIXELS
    faults: dict[int, list[str]] = defaultdict(list)
    for index in np.flatnonzero(beyond | ~valid).tolist():
        annotation = objects[index][1]
        fault = "is beyond the border" if valid[index] else "has a box without area"
        faults[int(owners[index])].append(
            f"annotation {annotation.id} {fault}: {annotation.content['bbox']}"
        )
    if not valid.all():
        image, annotation = objects[int(np.argmin(valid))]
        log.info(
            "%s boxes have no area within their image and are left out, the first is that of "
            "annotation %s in %s.",
            int((~valid).sum()),
            annotation.id,
            image.source,
        )
    areas = np.array([float(annotation.content.get("area") or 0) for _, annotation in objects])
    areas = np.where(areas, areas, given[:, 2:].prod(axis=1)) / sizes.prod(axis=1)
    ends = np.cumsum(np.bincount(owners[valid], minlength=len(images)))
    boxes, labels, crowd, shares = (
        np.split(values[valid], ends[:-1])
        for values in (
            (inside / edges).astype(np.float32),
            np.array([annotation.label for _, annotation in objects], dtype=np.int64),
            np.array([annotation.crowd for _, annotation in objects], dtype=bool),
            areas.astype(np.float32),
        )
    )
    return [
        AnnotatedImage(
            image.path,
            boxes[index],
            labels[index],
            crowd[index],
            shares[index],
            (image.height, image.width),
            tuple(faults.get(index, ())),
        )
        for index, image in enumerate(images)
    ]


def _bbox(source: Path, annotation: int, bbox: object) -> tuple[float, float, float, float]:
    if isinstance(bbox, list) and len(bbox) == 4:
        numbers = [value for value in bbox if isinstance(value, int | float)]
        if len(numbers) == 4 and all(map(math.isfinite, numbers)):
            return numbers[0], numbers[1], numbers[2], numbers[3]
    raise UsageError(
        f"{source}: annotation {annotation} has the bbox {bbox}, which is not four numbers.\n"
        "COCO's boxes are [x, y, width, height] in pixels."
    )


def build_target(record: AnnotatedImage, size: tuple[int, int]) -> Target:
    """Convert annotated objects to tensors.

    Args:
        record: the annotated image.
        size: height and width of the image file.
    """
    return Target(
        torch.from_numpy(record.boxes),
        torch.from_numpy(record.labels),
        torch.from_numpy(record.crowd),
        torch.from_numpy(record.areas) * (size[0] * size[1]),
        size,
    )
