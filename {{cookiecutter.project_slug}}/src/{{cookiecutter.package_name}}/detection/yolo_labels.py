"""Read the label files of YOLO data: a text file for each image, with a line for each object.

A line is a class index and the centre x, centre y, width and height of a box, relative to the
image, followed by key points if ``data.yaml`` has ``kpt_shape``; they are not used. Any other line
with more numbers is a polygon, of which the bounding box is used. The lines of
``.../images/a.jpg`` are in ``.../labels/a.txt``; an image without such a file has no objects.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.files import is_hidden
from ..data.image_paths import existing_form
from ..data.reading_summary import Reading
from ..data.text_files import read_text
from ..errors import UsageError
from .boxes import BEYOND, NO_AREA, OUTSIDE, AnnotatedImage, AnnotatedObject

SLACK = 0.005  # a box may exceed the image by this fraction of its side, because of rounding


class Labels(NamedTuple):
    """What the label files of a split have in common, and what is found while they are read."""

    split: str
    classes: int
    keypoints: int  # numbers of the key points that follow a box
    missing: list[Path]  # images without a label file
    polygons: Counter[int]  # number of polygons by their number of values
    poses: Counter[int]  # those of them that may be boxes with key points
    reading: Reading


def label_file(image: Path) -> str:
    """Return the path of the labels of an image: ``labels`` replaces the last folder ``images``."""
    stem = os.path.splitext(image)[0]  # noqa: PTH122 - faster than a Path
    # The separator in front is for relative paths that begin with the folder.
    before, images, below = f"{os.sep}{stem}".rpartition(f"{os.sep}images{os.sep}")
    file = f"{before}{os.sep}labels{os.sep}{below}.txt"[1:] if images else f"{stem}.txt"
    return file if file.isascii() else str(existing_form(Path(file)))


def count_unused_labels(images: Sequence[Path], reading: Reading) -> None:
    """Count the label files that belong to none of the images, and note those of several."""
    files = [*map(label_file, images)]
    used = set(files)
    if len(used) < len(files):
        reading.note_shared(zip(files, images, strict=True))
    for folder in sorted({os.path.dirname(path) for path in used}):  # noqa: PTH120 - of a string
        entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
        for name in entries:
            path = f"{folder}{os.sep}{name}"
            no_labels = is_hidden(name) or name == "classes.txt"
            if name.lower().endswith(".txt") and path not in used and not no_labels:
                reading.leave_out("label files", "no image of this name", path)


def read_labels(image: Path, labels: Labels) -> AnnotatedImage:
    """Read the objects of an image, or raise a UsageError if a line is invalid."""
    file = label_file(image)
    try:
        lines = read_text(file).splitlines()
    except FileNotFoundError:
        labels.missing.append(image)
        return AnnotatedImage(image, objects=[])
    objects, faults, name = [], [], file.rpartition(os.sep)[2]
    known: set[tuple[float, ...]] = set()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, *values = numbers = (*map(float, words),)
            if numbers in known:
                labels.reading.leave_out("objects", "repeated", file, split=labels.split)
                faults.append(f"{name}, line {number}: repeated")
                continue
            known.add(numbers)
            box, beyond = _box(values[:4] if len(values) == 4 + labels.keypoints else values)
        except ValueError as error:
            raise UsageError(
                f"{file}, line {number}: {line!r} is not a class index with the four numbers of a "
                "box, or with the corners of a polygon, all from 0 to 1.\nBoxes in pixels must be "
                "divided by the width and the height of the image; other numbers, such as a "
                "confidence, must be removed."
            ) from error
        if label not in range(labels.classes):
            raise UsageError(
                f"{file}, line {number}: class index {label:g} is not valid: the classes are "
                f"numbered from 0 to {labels.classes - 1}.\nCorrect it, or name the class."
            )
        width, height = box[2] - box[0], box[3] - box[1]
        if min(width, height) > 0:
            objects.append(AnnotatedObject(box, int(label), width * height))
        else:
            reason = OUTSIDE if beyond > SLACK and min(values[2:4]) > 0 else NO_AREA
            faults.append(f"{name}, line {number}: {reason}")
            labels.reading.leave_out("objects", reason, file, split=labels.split)
            continue
        if beyond > SLACK:
            faults.append(f"{name}, line {number}: {BEYOND}")
        if len(values) not in {4, 4 + labels.keypoints}:
            labels.polygons[len(values)] += 1
            labels.poses[len(values)] += _may_have_keypoints(values)
    return AnnotatedImage(image, objects, faults=tuple(faults))


def _box(values: list[float]) -> tuple[list[float], float]:
    """Return x1, y1, x2, y2 clipped to the image, and how far the box exceeded the image.

    Raises:
        ValueError: if ``values`` are neither a box nor a polygon, or are far outside the image.
    """
    if len(values) == 4:
        x, y, width, height = values
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    elif len(values) >= 6 and len(values) % 2 == 0:
        corners = [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]
    else:
        raise ValueError(len(values))
    beyond = max(-min(corners), max(corners) - 1)
    if beyond > 0.5 or not all(map(math.isfinite, values)):  # values in pixels, or NaN
        raise ValueError(corners)
    if beyond > 0:
        corners = [min(max(corner, 0.0), 1.0) for corner in corners]
    return corners, beyond


def _may_have_keypoints(values: list[float]) -> bool:
    """Return whether values may be a box within the image, and points within the box."""
    x, y, width, height = values[:4]
    points = [
        [*zip(values[4::size], values[5::size], strict=True)]
        for size in (2, 3)
        if (len(values) - 4) % size == 0
    ]
    return max(x + width / 2, y + height / 2) <= 1 and any(
        all(abs(a - x) <= width / 2 and abs(b - y) <= height / 2 for a, b in part if a or b)
        for part in points
    )
