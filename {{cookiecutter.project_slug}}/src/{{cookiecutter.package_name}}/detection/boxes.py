"""What is known of the objects in an image, and where it comes from.

Boxes are ``x1 y1 x2 y2`` as shares of the image's width and height, from 0 to 1, everywhere between
the files and the drawing: they fit the image at any size.
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

SLACK_PIXELS = 1  # of a box beyond the border: rounding


class Target(NamedTuple):
    """The objects of one image."""

    boxes: Tensor  # float32 [N, 4]
    labels: Tensor  # int64 [N]
    crowd: Tensor  # bool [N]: a box around many objects, neither trained on nor counted as missed
    areas: Tensor  # float32 [N], in pixels of the file: what COCO calls small, medium or large
    size: tuple[int, int]  # height and width of the file


class Prediction(NamedTuple):
    """What a network says about one image, the most certain first."""

    boxes: Tensor  # float32 [N, 4]
    scores: Tensor  # float32 [N], 0 to 1
    labels: Tensor  # int64 [N]


class Labelled(NamedTuple):
    """An image file and its objects, before it is read."""

    path: Path
    boxes: np.ndarray  # float32 [N, 4]
    labels: np.ndarray  # int64 [N]
    crowd: np.ndarray  # bool [N]
    areas: np.ndarray  # float32 [N], as shares of the image
    size: tuple[int, int]  # height and width; 0, 0 if only the file knows
    faults: tuple[str, ...] = ()  # what had to be put right


def labelled(
    path: Path,
    rows: Sequence[tuple[list[float], int, bool, float]],
    size: tuple[int, int],
    faults: Sequence[str] = (),
) -> Labelled:
    """Stack rows of box, label, crowd and area."""
    boxes, labels, crowd, areas = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Labelled(
        path,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(crowd, dtype=bool),
        np.array(areas, dtype=np.float32),
        size,
        tuple(faults),
    )


def from_coco(images: Sequence[CocoImage]) -> list[Labelled]:
    """Take the boxes of COCO annotations, cut off at the border of the image.

    Boxes that have no area there are left out, and counted in one line.

    Raises:
        UsageError: naming the annotation whose box is not four numbers.
    """
    # All at once: a data set has some hundred thousand.
    objects = [(image, one) for image in images for one in image.objects]
    owners = np.repeat(np.arange(len(images)), [len(image.objects) for image in images])
    sizes = np.array([(image.width, image.height) for image in images], dtype=np.float64)[owners]
    given = np.array(
        [_bbox(image.source, one.id, one.content.get("bbox")) for image, one in objects],
        dtype=np.float64,
    ).reshape(-1, 4)
    corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
    edges = np.tile(sizes, 2)
    inside = corners.clip(0, edges)
    kept = np.all(inside[:, 2:] > inside[:, :2], axis=1)
    beyond = np.abs(corners - inside).max(axis=1) > SLACK_PIXELS
    faults: dict[int, list[str]] = defaultdict(list)
    for index in np.flatnonzero(beyond | ~kept).tolist():
        one = objects[index][1]
        what = "is beyond the border" if kept[index] else "has a box without area"
        faults[int(owners[index])].append(f"annotation {one.id} {what}: {one.content['bbox']}")
    if not kept.all():
        image, one = objects[int(np.argmin(kept))]
        log.info(
            "%s boxes have no area within their image and are left out, the first is that of "
            "annotation %s in %s.",
            int((~kept).sum()),
            one.id,
            image.source,
        )
    areas = np.array([float(one.content.get("area") or 0) for _, one in objects])
    areas = np.where(areas, areas, given[:, 2:].prod(axis=1)) / sizes.prod(axis=1)
    ends = np.cumsum(np.bincount(owners[kept], minlength=len(images)))
    boxes, labels, crowd, shares = (
        np.split(values[kept], ends[:-1])
        for values in (
            (inside / edges).astype(np.float32),
            np.array([one.label for _, one in objects], dtype=np.int64),
            np.array([one.crowd for _, one in objects], dtype=bool),
            areas.astype(np.float32),
        )
    )
    return [
        Labelled(
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


def target_of(record: Labelled, size: tuple[int, int]) -> Target:
    """The objects as tensors.

    Args:
        record: what the annotations say.
        size: height and width of the image as it was read.
    """
    return Target(
        torch.from_numpy(record.boxes),
        torch.from_numpy(record.labels),
        torch.from_numpy(record.crowd),
        torch.from_numpy(record.areas) * (size[0] * size[1]),
        size,
    )
