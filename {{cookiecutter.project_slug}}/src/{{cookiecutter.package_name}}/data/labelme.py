"""Read LabelMe's JSON files, one for each image."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
# ~ if cookiecutter.task == "detection"
from itertools import pairwise
# ~ endif
from pathlib import Path
from typing import Annotated, Any

from pydantic import FailFast, Field, FiniteFloat, TypeAdapter

from ..errors import UsageError
from ..settings.data import DataFolder
from .annotation_files import NO_CLASSES, AnnotationFile, find_annotation_files, to_coco_images
from .coco import CocoImage
from .coco_files import Name
from .reading_summary import Reading
from .text_files import read_json

CIRCLE_CORNERS = 64

Outline = list[float]  # x, y, x, y ... in pixels


@dataclass
class _Shape:
    label: Name
    points: list[tuple[FiniteFloat, FiniteFloat]]
    shape_type: str | None = None
    group_id: Any = None


@dataclass
class _Content:
    shapes: Annotated[list[_Shape], FailFast()]
    image: Annotated[str | None, Field(alias="imagePath")] = None
    height: Annotated[float | None, Field(alias="imageHeight")] = None
    width: Annotated[float | None, Field(alias="imageWidth")] = None


CONTENT = TypeAdapter(_Content)


def read_labelme(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the class names, and the images that have a JSON file by split.

    Polygons, rectangles and circles are read. Shapes of the same class and group (``group_id``) are
    # ~ if cookiecutter.task == "detection"
    one object. Shapes with the label ``_background_`` or ``__ignore__`` are left out.
    # ~ else
    one object. Shapes with the label ``_background_`` are left out, and those with ``__ignore__``
    are crowds: their pixels are ignored.
    # ~ endif
    """
    groups: Counter[str] = Counter()  # how many shapes each has in all files
    files = {
        split: [_parse(path, groups, reading, split) for path in paths]
        for split, paths in find_annotation_files(root, ".json", reading).items()
    }
    joined = groups.total() - sum(len(file.objects) for part in files.values() for file in part)
    if len(groups) == 1 and joined:
        reading.note(
            f"All shapes have the same group_id ({next(iter(groups))}), so all those of a class in "
            f"an image are read as one object: {joined} of {groups.total()} shapes are joined to "
            "others. If each shape is an object, set group_id to null in all files."
        )
    return to_coco_images(files, root, settings, reading)


def _parse(path: Path, groups: Counter[str], reading: Reading, split: str) -> AnnotationFile:
    content = read_json(path, CONTENT)
    objects: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
    for number, shape in enumerate(content.shapes):
        kind, name = shape.shape_type or "polygon", shape.label
        outline = _outline(kind, shape.points)
        if outline is not None and len(outline) < 6:
            raise UsageError(
                f"{path}: shape {number} is a {kind} of {len(shape.points)} points only.\n"
                "Correct or remove it in LabelMe."
            )
        if outline is None or name in NO_CLASSES:
            reason = f"shapes of the type {kind}, which are not read"
            reason = reason if outline is None else f"{name}, which is not a class"
            reading.leave_out("objects", reason, path, split=split)
        # ~ if cookiecutter.task == "detection"
        elif _is_flat(outline):
            reading.leave_out("objects", f"{kind}s without area", path, split=split)
        else:
        # ~ else
        if outline and name != "_background_":
        # ~ endif
            own = shape.group_id is None or shape.group_id == ""
            group = f"shape {number}" if own else f"group {shape.group_id}"
            objects[name, group].append(outline)
            groups[group] += 1
    outlines_of = [*objects.values()]
    if outlines_of and max(x for part in outlines_of for outline in part for x in outline) <= 1:
        raise UsageError(
            f"{path}: all coordinates are from 0 to 1, so relative to width and height, but those "
            "of LabelMe are pixels.\nMultiply x by the width and y by the height of the image."
        )
    return AnnotationFile(
        path,
        content.image or path.stem,
        (int(content.height or 0), int(content.width or 0)),
        # ~ if cookiecutter.task == "detection"
        [(name, False, {"bbox": _box(outlines)}) for (name, _), outlines in objects.items()],
        # ~ else
        [
            (name, name == "__ignore__", {"segmentation": outlines})
            for (name, _), outlines in objects.items()
        ],
        # ~ endif
    )


# ~ if cookiecutter.task == "detection"
def _box(outlines: list[Outline]) -> list[float]:
    """Return x, y, width and height of the rectangle around all outlines."""
    xs = [x for outline in outlines for x in outline[::2]]
    ys = [y for outline in outlines for y in outline[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _is_flat(outline: Outline) -> bool:
    """Return whether all corners of a polygon are on one line."""
    xs, ys = ([n - part[0] for n in part] for part in (outline[::2], outline[1::2]))
    corners = [*zip(xs, ys, strict=True)]
    return all(x1 * y2 == x2 * y1 for (x1, y1), (x2, y2) in pairwise(corners))


# ~ endif
def _outline(kind: str, corners: list[tuple[float, float]]) -> Outline | None:
    """Return the corners of a shape, or None for a point, a line or another type."""
    if kind == "rectangle" and len(corners) >= 2:
        xs, ys = zip(*corners, strict=True)
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif kind == "circle" and len(corners) == 2:
        (x, y), edge = corners
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * step / CIRCLE_CORNERS for step in range(CIRCLE_CORNERS)]
        corners = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]
    elif kind not in {"polygon", "rotation", "rectangle", "circle"}:
        return None
    return [value for corner in corners for value in corner]
