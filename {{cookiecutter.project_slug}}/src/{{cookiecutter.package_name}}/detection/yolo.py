"""Read data sets in YOLO format: ``data.yaml``, and a text file of boxes for each image."""

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..data.files import ListedFiles, folder_of, is_hidden, split_of
from ..data.image_paths import check_inside, existing_files, existing_form, find_images
from ..data.reading_summary import MISSING, Reading
from ..data.text_files import read_lines, read_text
from ..errors import UsageError
from .boxes import BEYOND, MANY, NO_AREA, OUTSIDE, AnnotatedImage, AnnotatedObject
from .yolo_files import (
    EXAMPLE,
    class_names,
    find_description,
    find_entries,
    keypoint_values,
    paths_of,
    read_description,
    text_of,
)

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


def read_yolo(
    root: Path, reading: Reading, *, missing_images: bool = False, outside: bool = False
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the images of the splits that the data have, with their boxes.

    The boxes of ``.../images/a.jpg`` are in ``.../labels/a.txt``. A line is a class index and the
    centre x, centre y, width and height of a box, relative to the image, followed by key points if
    ``data.yaml`` has ``kpt_shape``; they are not used. Any other line with more numbers is a
    polygon, of which the bounding box is used. An image without a text file has no objects.

    Args:
        root: the folder of ``data.yaml``, or that file itself.
        reading: counts what is left out.
        missing_images: if true, images whose file is missing are left out.
        outside: whether images may be outside ``root``.

    Returns:
        The class names, and the annotated images by split; without splits, all images are those of
        train.

    Raises:
        UsageError: if a file or a line of a file is missing or invalid, or if no image of the
            training or of the validation split has an object.
    """
    file = find_description(root)
    folder = folder_of(root)
    content = read_description(file)
    classes, keypoints = class_names(file, content), keypoint_values(file, content)
    base = folder / (text_of(content.get("path")) or ".")
    base = base if base.is_dir() else folder
    entries = find_entries(content, base)
    if "train" not in entries:
        raise UsageError(f"{file} has no train.\n{EXAMPLE}")
    splits: dict[str, list[AnnotatedImage]] = {}
    for split, entry in entries.items():
        found = {name: _resolve(base, name) for name in paths_of(entry)}
        absent = [name for name, path in found.items() if path is None]
        if split == "test" and absent:
            reading.note(f"{file} names {absent[0]}, which does not exist.")
            continue
        if absent:
            raise UsageError(f"{file} names {absent[0]}, but there is no {base / absent[0]}.")
        for name, path in found.items():
            if path not in {base / name, base / name.removeprefix("../")}:
                reading.note(f"{file} names {name}, which is read as {path}.")
        listed = reading.listed(folder)
        paths, missing = _images(file, base, entry, listed, missing_images=missing_images)
        for path in missing:
            reading.leave_out("images", MISSING, path, split=split)
        if not outside:
            check_inside(folder, paths, source=file)
        labels = Labels(split, len(classes), keypoints, [], Counter(), Counter(), reading)
        splits[split] = [_read_image(path, labels) for path in paths]
        _note_labels(labels, len(paths))
        _note_corners(split, splits[split], reading)
    _check_objects(file, splits, reading)
    _count_unused_labels([image.path for images in splits.values() for image in images], reading)
    return classes, splits


def _note_labels(labels: Labels, images: int) -> None:
    """Note images without a label file, and polygons that may be boxes with further numbers."""
    if labels.missing:
        labels.reading.note(
            f"Images of {labels.split} without a label file, which count as background: "
            f"{len(labels.missing)} of {images}, the first is {labels.missing[0]}."
        )
    if {*labels.polygons} == {6}:
        labels.reading.note(
            f"Lines of {labels.split} with 7 numbers: {labels.polygons[6]}. They are read as "
            "triangles. If they are boxes followed by two other numbers, remove those two numbers."
        )
    elif len(labels.polygons) == 1 and labels.poses == labels.polygons:
        ((values, count),) = labels.polygons.items()
        labels.reading.note(
            f"Lines of {labels.split} with {values + 1} numbers: {count}. They are read as "
            "polygons. If they are boxes followed by key points, write into data.yaml how many "
            f"points there are, and the numbers of each: kpt_shape: [{values // 2 - 2}, 2]"
        )


def _note_corners(split: str, images: Sequence[AnnotatedImage], reading: Reading) -> None:
    """Note boxes that are all wider and higher than their centre is far from the upper left."""
    boxes = [item.box for image in images for item in image.objects]
    if len(boxes) >= MANY and all(x2 > 3 * x1 and y2 > 3 * y1 for x1, y1, x2, y2 in boxes):
        reading.note(
            f"Each box of {split} may be two corners, since its third and fourth number exceed the "
            "first and second one. They are read as width and height: check this in the pictures "
            "of predictions, which show the boxes, too."
        )


def _check_objects(file: Path, splits: dict[str, list[AnnotatedImage]], reading: Reading) -> None:
    """Refuse a split without any object; if it is the test split, remove it."""
    for split, images in list(splits.items()):
        if any(image.objects for image in images):
            continue
        reason = f"{file}: none of the {len(images)} images of {split} has an object"
        if split == "test":
            reading.note(f"{reason}, so it is not used for the test.")
            del splits[split]
            continue
        if not images:
            raise UsageError(
                f"{file}: all images of {split} are missing.\n"
                "Correct the paths in the list, or data.root."
            )
        label = _label_file(images[0].path)
        state = "has none" if Path(label).is_file() else "does not exist"
        raise UsageError(
            f"{reason}.\nThe objects of {images[0].path} should be in {label}, which {state}. The "
            "path of a label file is that of the image with labels/ instead of the last images/."
        )


def _resolve(base: Path, name: str) -> Path | None:
    """Return what ``data.yaml`` names; a path of another computer is found by its last parts.

    One of these parts must name a split. Some tools write ../train/images for train/images.
    """
    parts = name.split("/")
    ends = (parts[start:] for start in range(1, len(parts)))
    moved = ("/".join(end) for end in ends if any(split_of(Path(part).stem) for part in end))
    candidates = (base / path for path in (name, name.removeprefix("../"), *moved))
    return next((path for path in map(existing_form, candidates) if path.exists()), None)


def _images(
    file: Path, base: Path, entry: object, listed: ListedFiles, *, missing_images: bool
) -> tuple[list[Path], list[Path]]:
    """Return the images of a split, and those that a list names, but whose file is missing."""
    images: list[Path] = []
    missing: list[Path] = []
    for name in paths_of(entry):
        source = _resolve(base, name) or base
        if source.is_dir():
            images += map(Path, listed.images_in(source))
            continue
        lines = read_lines(source)
        paths, _ = find_images(lines, [source.parent, base]) if lines else ([], 0)
        paths, absent = existing_files(paths, listed.images)
        if absent and not missing_images:
            raise UsageError(
                f"{source} names {absent[0]}, which is missing ({len(absent)} of {len(paths)} "
                "images).\nAdd it, or leave such images out: data.skip_unreadable=true"
            )
        missing += absent
        images += sorted({*paths} - {*absent}) if absent else paths
    if not images and not missing:
        raise UsageError(f"{file} names {entry}, but there is no image.")
    return sorted(images), missing


def _label_file(image: Path) -> str:
    """Return the path of the labels of an image: ``labels`` replaces the last folder ``images``."""
    stem = os.path.splitext(image)[0]  # noqa: PTH122 - faster than a Path
    # The separator in front is for relative paths that begin with the folder.
    before, images, below = f"{os.sep}{stem}".rpartition(f"{os.sep}images{os.sep}")
    file = f"{before}{os.sep}labels{os.sep}{below}.txt"[1:] if images else f"{stem}.txt"
    return file if file.isascii() else str(existing_form(Path(file)))


def _count_unused_labels(images: Sequence[Path], reading: Reading) -> None:
    files = [*map(_label_file, images)]
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


def _read_image(image: Path, labels: Labels) -> AnnotatedImage:
    file = _label_file(image)
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
            faults.append(f"{name}, line {number}: the box is {BEYOND}")
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
