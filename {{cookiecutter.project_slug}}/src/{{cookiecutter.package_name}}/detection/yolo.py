"""Read data sets in YOLO format: ``data.yaml``, and a text file of boxes for each image."""

import math
import os
from pathlib import Path
from typing import Any

import yaml

from ..data.coco import check_inside
from ..data.files import images_below
from ..data.text import read_text
from ..errors import UsageError
from .boxes import AnnotatedImage, AnnotatedObject

EXAMPLE = """It must contain the folders of the images and the names of the classes:
  train: images/train
  val: images/val
  names: [cat, dog]"""
SLACK = 0.005  # a box may exceed the image by this share of its side, because of rounding
SPLITS = {"train": ("train",), "val": ("val", "valid"), "test": ("test", "val", "valid")}


def read_yolo(
    root: Path, *, outside: bool = False
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the three splits; if there is no test split, the validation split is used for it.

    The boxes of ``.../images/a.jpg`` are in ``.../labels/a.txt``. A line is a class index and the
    centre x, centre y, width and height of a box, relative to the image. A line with more numbers
    is a polygon, of which the bounding box is used. An image without a text file has no objects.

    Args:
        root: the folder of ``data.yaml``.
        outside: whether images may be outside ``root``.

    Returns:
        The class names, and the annotated images by split.

    Raises:
        UsageError: if a file or a line of a file is missing or invalid.
    """
    file = root / "data.yaml"
    try:
        content = yaml.safe_load(read_text(file))
    except OSError as error:
        raise UsageError(f"{file} is missing.\n{EXAMPLE}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error
    classes = _classes(file, content)
    splits = {}
    for split, keys in SPLITS.items():
        entry = next((content[key] for key in keys if content.get(key)), None)
        if entry is None:
            raise UsageError(f"{file} has no {split}.\n{EXAMPLE}")
        base = root / str(content.get("path") or ".")
        paths = _images(file, base if base.is_dir() else root, entry)
        if not outside:
            check_inside(root, paths, source=file)
        splits[split] = [_read_image(path, len(classes)) for path in paths]
    return classes, splits


def _classes(file: Path, content: Any) -> list[str]:
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names or len({*map(str, names)}) < len(names):
        raise UsageError(f"{file} has no names, or not a different one for each class.\n{EXAMPLE}")
    return [str(name) for name in names]


def _images(file: Path, root: Path, entry: object) -> list[Path]:
    images: list[Path] = []
    for name in entry if isinstance(entry, list) else [entry]:
        # Some tools write ../train/images for train/images in the folder of data.yaml.
        candidates = (root / str(name), root / str(name).removeprefix("../"))
        source = next((path for path in candidates if path.exists()), None)
        if source is None:
            raise UsageError(f"{file} names {name}, but there is no {candidates[0]}.")
        if source.is_file():
            lines = read_text(source).splitlines()
            images += [source.parent / line.strip() for line in lines if line.strip()]
        else:
            images += map(Path, images_below(source))
    if not images:
        raise UsageError(f"{file} names {entry}, but there is no image.")
    return sorted(images)


def _read_image(image: Path, classes: int) -> AnnotatedImage:
    before, images, below = str(image.with_suffix(".txt")).rpartition(f"{os.sep}images{os.sep}")
    file = Path(f"{before}{os.sep}labels{os.sep}{below}" if images else below)
    try:
        lines = read_text(file).splitlines()
    except FileNotFoundError:
        return AnnotatedImage(image, objects=[])
    objects, faults = [], []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, *values = map(float, words)
            box, beyond = _box(values)
        except ValueError as error:
            raise UsageError(
                f"{file}, line {number}: {line!r} is not a class index with the four numbers of a "
                "box, or with the corners of a polygon, all from 0 to 1."
            ) from error
        if label not in range(classes):
            raise UsageError(
                f"{file}, line {number}: there is no class {label:g}; names in data.yaml end at "
                f"{classes - 1}."
            )
        area = (box[2] - box[0]) * (box[3] - box[1])
        if area > 0:
            objects.append(AnnotatedObject(box, int(label), area))
        else:
            faults.append(f"{file.name}, line {number}: the box has no area")
        if beyond > SLACK:
            faults.append(f"{file.name}, line {number}: the box is beyond the border")
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
