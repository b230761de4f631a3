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
from functools import partial
from pathlib import Path

from ..data.files import is_hidden
from ..data.image_paths import existing_form
from ..data.reading_summary import Reading
from ..data.text_files import read_text
from ..errors import UsageError
from .boxes import SLACK, AnnotatedImage, annotate

PIXELS = (
    "Boxes in pixels must be divided by the width and the height of the image; other numbers, such "
    "as a confidence, must be removed."
)
NO_NUMBERS = (
    "Write numbers only, with spaces between them and points for decimals. The class is the number "
    "of its name in the list of classes, from 0; comments must be removed."
)


def label_file(image: str | Path) -> str:
    """Return the path of the labels of an image: ``labels`` replaces the last folder ``images``."""
    stem = os.path.splitext(image)[0]  # noqa: PTH122 - faster than a Path
    # The separator in front is for relative paths that begin with the folder.
    before, images, below = f"{os.sep}{stem}".rpartition(f"{os.sep}images{os.sep}")
    file = f"{before}{os.sep}labels{os.sep}{below}.txt"[1:] if images else f"{stem}.txt"
    return file if file.isascii() else str(existing_form(Path(file)))


def count_unused_labels(files: Sequence[tuple[str, str]], reading: Reading) -> None:
    """Count the label files that belong to no image, and note those of several.

    ``files`` are the label file of each image, and the image.
    """
    used = {file for file, _ in files}
    if len(used) < len(files):
        reading.note_shared(files)
    for folder in sorted({file.rpartition(os.sep)[0] for file in used}):
        entries = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
        for name in sorted(name for name in entries if f"{folder}{os.sep}{name}" not in used):
            no_labels = is_hidden(name) or name == "classes.txt"
            if name.lower().endswith(".txt") and not no_labels:
                path = f"{folder}{os.sep}{name}"
                reading.leave_out("label files", "no image of this name", path)


def read_labels(
    files: Sequence[tuple[str, str]], split: str, classes: int, keypoints: int, reading: Reading
) -> list[AnnotatedImage]:
    """Read the objects of a split from the label file of each image.

    ``classes`` is the number of classes, and ``keypoints`` how many numbers of key points follow a
    box.
    """
    annotated, missing, labels, boxes = [], [], {*range(classes)}, {4, 4 + keypoints}
    polygons: Counter[int] = Counter()  # by their number of values
    poses: Counter[str] = Counter()  # those that may be a box followed by key points, by kpt_shape
    for file, image in files:
        try:
            lines = read_text(file).splitlines()
        except FileNotFoundError:
            missing.append(image)
            lines = []
        found = []
        for number, line in enumerate(lines, start=1):
            if not (words := line.split()):
                continue
            values: list[float] = []
            try:
                label, *values = map(float, words)
                box = _box(values[:4] if len(values) == 4 + keypoints else values)
            except ValueError as error:
                pose = _keypoint_shape(values)
                are_numbers = values and all(map(math.isfinite, values))
                raise UsageError(
                    f"{file}, line {number}: {line!r} is not a class index with the four numbers "
                    "of a box, or with the corners of a polygon, all from 0 to 1.\n"
                    + (PIXELS if are_numbers else NO_NUMBERS)
                    + f" Key points need this line in data.yaml: kpt_shape: {pose}" * bool(pose)
                ) from error
            if label not in labels:
                raise UsageError(
                    f"{file}, line {number}: class index {label:g} is not valid: the classes are "
                    f"numbered from 0 to {classes - 1}.\nCorrect it, or name the class; a text "
                    "file of names has one on each line."
                )
            if len(values) not in boxes:
                polygons[len(values)] += 1
                poses.update(filter(None, [_keypoint_shape(values)]))
            found.append((number, (box, int(label), 0.0, False)))
        where = partial("{}, line {}".format, file.rpartition(os.sep)[2])
        leave_out = partial(reading.leave_out, "objects", file=file, split=split)
        annotated.append(annotate(image, (0, 0), found, where, leave_out))
    if missing:
        reading.note(
            f"Images without a label file, which count as background: {len(missing)} of "
            f"{len(files)}, the first is {missing[0]}.",
            split=split,
        )
    _note_polygons(split, polygons, poses, reading)
    return annotated


def _note_polygons(
    split: str, polygons: Counter[int], poses: Counter[str], reading: Reading
) -> None:
    """Note polygons that may be boxes followed by other numbers."""
    if {*polygons} == {6}:
        reading.note(
            f"Lines with 7 numbers: {polygons[6]}. They are read as triangles. If they are boxes "
            "followed by two other numbers, remove those two numbers.",
            split=split,
        )
    # Points may lie a little outside of their box. Real outlines have many numbers of corners.
    elif 0 < len(polygons) <= 3 and poses.total() >= 0.9 * polygons.total():
        numbers = " or ".join(str(count + 1) for count in sorted(polygons))
        (shape, _), *_ = poses.most_common(1)
        fix = f"how many points there are, and the numbers of each: kpt_shape: {shape}"
        reading.note(
            f"Lines with {numbers} numbers: {polygons.total()}. They are read as polygons. If they "
            "are boxes followed by key points, "
            + (f"write into data.yaml {fix}" if len(polygons) == 1 else "remove the key points."),
            split=split,
        )


def _box(values: list[float]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of a box or a polygon.

    Raises:
        ValueError: if ``values`` are neither, or are far outside the image.
    """
    if len(values) == 4:
        x, y, width, height = values
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
    else:
        raise ValueError(len(values))
    if min(box) < -0.5 or max(box) > 1.5 or not math.isfinite(sum(values)):  # e.g. pixels
        raise ValueError(box)
    return box


def _keypoint_shape(values: list[float]) -> str:
    """Return kpt_shape if values may be a box within the image and key points; else an empty text.

    A point has its visibility as a third number, 0 to 2, or is within the box.
    """
    x, y, width, height, *rest = values if len(values) > 5 else [1.0] * 4
    right, below = width / 2 + SLACK, height / 2 + SLACK
    if max(x + right, y + below) > 1 + 2 * SLACK:
        return ""
    if len(rest) % 3 == 0 and {*rest[2::3]} <= {0, 1, 2} and max(rest[::3] + rest[1::3]) <= 1.5:
        return f"[{len(rest) // 3}, 3]"
    points = [*zip(rest[::2], rest[1::2], strict=False)]
    near = all(abs(a - x) <= right and abs(b - y) <= below for a, b in points if a or b)
    return f"[{len(points)}, 2]" if near and len(rest) % 2 == 0 else ""
