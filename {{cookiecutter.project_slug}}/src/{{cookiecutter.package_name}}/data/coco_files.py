"""Find the COCO annotation files of a data set, and check their content."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from faster_coco_eval.core import mask as coco_mask
from pydantic import FailFast, Field, FiniteFloat, StringConstraints, TypeAdapter

from ..errors import UsageError
from .files import SPLIT_NAMES, is_hidden, split_folders
from .reading_summary import Reading, number_of
from .text_files import read_json

IN_SPLIT = "_annotations.coco.json"  # as Roboflow writes it into the folder of each split
COMPARED = 1000  # annotations of a file, so that a large file is not read more slowly
LAYOUTS = """These layouts are read, each with a file for train, for val and, optionally, for test:
  annotations/instances_train2017.json with train2017/
  annotations/train.json or train.json with train/ or images/
  train/_annotations.coco.json with the images in the same folder
Or a single file for all images, such as instances.json or result.json with images/."""
# A text only if it is no number. Python takes 1_23 for a number, and 12_3 for the same one.
Id = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[str, Field(pattern="_")] | int | str,
    Field(union_mode="left_to_right"),
]
Name = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    StringConstraints(strip_whitespace=True, min_length=1),
]


@dataclass(slots=True)
class _Category:
    id: Id
    name: Name
    supercategory: Any = None


@dataclass(slots=True)
class _Image:
    id: Id
    file_name: str
    width: Any = None
    height: Any = None


@dataclass(slots=True)
class _Annotation:
    id: Id
    image_id: Id
    category_id: Id
    # ~ if cookiecutter.task == "detection"
    rectangle: Annotated[list[FiniteFloat], Field(alias="bbox", min_length=4, max_length=4)]
    area: float | None = None
    # ~ else
    rectangle: Annotated[Any, Field(alias="bbox")] = None  # only compared with the outline
    # ~ endif
    outline: Annotated[Any, Field(alias="segmentation")] = None
    # Also texts such as "1.0"; left_to_right takes no longer than bool alone.
    iscrowd: Annotated[bool | FiniteFloat | None, Field(union_mode="left_to_right")] = False
    ignore: Any = None  # only noted: COCO's own evaluation does not use it


@dataclass(slots=True)
class CocoFile:
    """The content of an annotation file, in which numbers may be written as texts."""

    categories: Annotated[list[_Category], FailFast()]
    images: Annotated[list[_Image], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()] = field(default_factory=list)


def find_annotations(root: Path, reading: Reading) -> dict[str, Path]:
    """Return the annotation files by split; a single file for all images is that of train.

    If a split has no file, other JSON files are counted: they may be meant for it.
    """
    if root.is_file():
        return {"train": root}
    candidates = [
        path
        for folder in (root, root / "annotations")
        for path in sorted(folder.glob("*.json"))
        if not is_hidden(path.name)
    ]
    folders, files = split_folders(root), {}
    for split, words in SPLIT_NAMES.items():
        pattern = rf"({'|'.join(words)})(\d\d\d\d)?"
        matching = [path for path in candidates if re.fullmatch(pattern, images_name(path).lower())]
        if split in folders and (folders[split] / IN_SPLIT).is_file():
            matching.append(folders[split] / IN_SPLIT)
        if len(matching) > 1:
            raise UsageError(
                f"data.root={root} has several annotation files for {split}:\n"
                + "\n".join(f"  {path}" for path in matching)
                + "\nKeep the file to use, and move the other files away."
            )
        if matching:
            files[split] = matching[0]
    if "train" in files:
        for path in candidates if len(files) < len(SPLIT_NAMES) else []:
            if path not in files.values():
                reading.leave_out("JSON files", "not named after a split", path)
        return files
    return {"train": _only_file(root, [] if files else candidates)}


def _only_file(root: Path, candidates: Sequence[Path]) -> Path:
    if not candidates:
        raise UsageError(f"data.root={root} has no annotations for train.\n{LAYOUTS}")
    if len(candidates) > 1:
        raise UsageError(
            f"data.root={root} has {len(candidates)} JSON files, but none is named after train:\n"
            + "\n".join(f"  {path}" for path in candidates[:5])
            + "\nName the one to use, as data.root=<file>; or name them train.json and val.json."
            # ~ if cookiecutter.scope == "complete"
            " If there is a file for each image: data=labelme"
            # ~ endif
        )
    return candidates[0]


def images_name(file: Path) -> str:
    """Return the part of the name of an annotation file that stands for its images."""
    return re.sub(r"(?i)^(instances|annotations)_|_annotations$", "", file.stem)


def note_outlines(file: Path, content: CocoFile, reading: Reading) -> None:
    """Note outlines that contradict the rectangle around them, among about ``COMPARED``."""
    compared, contradicting = 0, list[str]()
    for entry in content.annotations[:: max(1, len(content.annotations) // COMPARED)]:
        try:
            x, y, width, height = map(float, entry.rectangle)
            left, top, right, bottom = _edges(entry.outline)
            across, down = 2 + (right - left) / 4, 2 + (bottom - top) / 4  # tolerated differences
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
            continue  # no outline, or an invalid one
        if min(width, height, right - left, bottom - top) > 0:
            compared += 1
            if max(abs(x - left), abs(x + width - right)) > across or (
                max(abs(y - top), abs(y + height - bottom)) > down
            ):
                around = [left, top, right - left, bottom - top]
                given = f"annotation {entry.id}: {entry.rectangle}"
                contradicting.append(f"{given} instead of {around}")
    if contradicting:
        reading.note(
            f"{file}: rectangles that are not around the outline of their object: "
            f"{len(contradicting)} of {compared} that were compared, such as {contradicting[0]}. "
            "bbox is [x, y, width, height] with the left upper corner, polygons are "
            "[x, y, x, y, ...], run lengths go down the columns: correct those that are others."
        )


def _edges(outline: Any) -> list[float]:
    """Return left, top, right and bottom of polygons or of run lengths."""
    if not isinstance(outline, dict):
        corners = [[n for polygon in outline for n in polygon[place::2]] for place in (0, 1)]
        return [*map(min, corners), *map(max, corners)]
    counts = outline["counts"]
    if isinstance(counts, str):  # compressed
        runs = {**outline, "counts": counts.encode()}
    else:
        runs = coco_mask.frPyObjects(outline, *outline["size"])
    left, top, width, height = map(int, coco_mask.toBbox(runs))
    return [left, top, left + width, top + height]


def read_file(file: Path, split: str) -> CocoFile:
    """Read an annotation file, which may have no annotations only if it is that of test."""
    content = read_json(file, TypeAdapter(CocoFile))
    images, annotations = len(content.images), len(content.annotations)
    if not (images and annotations) and (split != "test" or annotations):
        raise UsageError(
            f"{file} has {number_of(images, 'images')} and "
            f"{number_of(annotations, 'annotations')}, so there is nothing to "
            f"{'learn' if split == 'train' else 'measure'}.\nAnnotate the objects of {split}, or "
            "move annotated images of another split there."
        )
    for kind in ("categories", "images", "annotations"):
        ids = [entry.id for entry in getattr(content, kind)]
        if len({*ids}) < len(ids):
            key, count = Counter(ids).most_common(1)[0]
            raise UsageError(
                f"{file}: {count} of its {kind} have the id {key}.\n"
                "Give each of them an id of its own."
            )
    return content
