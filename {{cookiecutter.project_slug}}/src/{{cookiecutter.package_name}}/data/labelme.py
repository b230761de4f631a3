"""Read LabelMe's JSON files, one for each image."""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..settings.data import DataFolder
from .annotation_files import NO_CLASSES, AnnotationFile, find_annotation_files, to_coco_images
from .coco import CocoImage
from .reading_summary import Reading
from .text_files import read_json

CIRCLE_CORNERS = 64

Outline = list[float]  # x, y, x, y ... in pixels


def read_labelme(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read polygons, rectangles and circles as COCO annotations, by split.

    Shapes of the same class and group (``group_id``) are one object. An image without a JSON file
    is left out, since it may not have been annotated yet. Without splits, all images are those of
    # ~ if cookiecutter.task == "detection"
    train. Shapes with the label ``_background_`` or ``__ignore__`` are left out.

    # ~ else
    train. Shapes with the label ``_background_`` are left out, and those with ``__ignore__`` are
    crowds: their pixels are ignored.

    # ~ endif

    Args:
        root: the folder of the JSON files, or of ``train/`` and ``val/`` with them.
        settings: how image files are read, and whether they may be missing.
        reading: counts what is left out.

    Returns:
        The class names and the annotated images by split, see ``to_coco_images``.

    Raises:
        UsageError: if a file is missing or invalid.
    """
    files = {
        split: [_parse(path, reading, split) for path in paths]
        for split, paths in find_annotation_files(root, ".json", reading).items()
    }
    return to_coco_images(files, root, settings, reading)


def _parse(path: Path, reading: Reading, split: str) -> AnnotationFile:
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise UsageError(
            f"{path} is not a LabelMe file: it has no list of shapes.\n"
            "Move other JSON files out of the folder of the data set."
        )
    objects: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        try:
            kind, group = shape.get("shape_type") or "polygon", shape.get("group_id")
            name, outline = str(shape["label"] or "").strip(), _outline(kind, shape["points"])
            if not name:
                raise ValueError("label")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path}: shape {number} has no label, or no valid points.\n"
                "Correct or remove it in LabelMe."
            ) from error
        if outline is None or name in NO_CLASSES:
            reason = f"shapes of the type {kind}, which are not read"
            reason = reason if outline is None else f"{name}, which is not a class"
            reading.leave_out("objects", reason, path, split=split)
        # ~ if cookiecutter.task == "detection"
        if outline and name not in NO_CLASSES:
        # ~ else
        if outline and name != "_background_":
        # ~ endif
            own = group is None or group == ""
            objects[name, f"shape {number}" if own else f"group {group}"].append(outline)
    if objects and max(x for outlines in objects.values() for part in outlines for x in part) <= 1:
        raise UsageError(
            f"{path}: all points are at most 1, like coordinates relative to width and height, "
            "but those of LabelMe are pixels.\nMultiply x by the width and y by the height of the "
            "image."
        )
    try:
        size = (int(content.get("imageHeight") or 0), int(content.get("imageWidth") or 0))
    except (OverflowError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: imageHeight and imageWidth must be numbers.") from error
    return AnnotationFile(
        path,
        str(content.get("imagePath") or path.stem),
        size,
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
def _box(outlines: Sequence[Outline]) -> list[float]:
    """Return x, y, width and height of the rectangle around all outlines."""
    xs = [x for outline in outlines for x in outline[::2]]
    ys = [y for outline in outlines for y in outline[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


# ~ endif
def _outline(kind: str, points: Sequence[Sequence[float]]) -> Outline | None:
    """Return the corners of a shape, or None for a point, a line or another type.

    Raises:
        ValueError: if there are too few points.
    """
    corners = [(float(x), float(y)) for x, y in points]
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
    values = [value for corner in corners for value in corner]
    if len(corners) < 3 or not all(map(math.isfinite, values)):
        raise ValueError(corners)
    return values
