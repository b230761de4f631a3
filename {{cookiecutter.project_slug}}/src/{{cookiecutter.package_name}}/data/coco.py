"""Find, check and read COCO annotation files."""

import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .text import read_text

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val|valid|validation", "test": "test"}
LAYOUTS = """These layouts are read, each with a file for train, for val and, optionally, for test:
  annotations/instances_train2017.json with train2017/
  annotations/train.json with train/
  train/_annotations.coco.json with the images in the same folder"""


class CocoObject(NamedTuple):
    """An annotation of an image."""

    id: int
    label: int  # index of its class
    crowd: bool
    content: dict[str, Any]  # the complete entry of the annotation file


@dataclass(frozen=True)
class CocoImage:
    """An image with its annotations."""

    path: Path
    width: int
    height: int
    objects: list[CocoObject]
    source: Path  # the annotation file


def read_coco(
    root: Path, *, missing_images: bool = False, outside: bool = False
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the three splits; if there is no test split, the validation split is used for it.

    Args:
        root: the folder of the data set.
        missing_images: if true, image files may be missing; reading such an image then fails.
        outside: whether image files may be outside ``root``.

    Returns:
        The names of the classes in the order of their ids, and the images by split.

    Raises:
        UsageError: if a file or an annotation is missing or invalid.
    """
    if not root.is_dir():
        raise UsageError(
            f"data.root={root}: there is no such folder.\nName the folder that holds the data."
        )
    files = {split: _find(root, split) for split in SPLITS}
    for split in ("train", "val"):
        if files[split] is None:
            raise UsageError(f"data.root={root} has no annotations for {split}.\n{LAYOUTS}")
    classes: dict[int, str] = {}
    splits: dict[str, list[CocoImage]] = {}
    for split, file in files.items():
        if file is None:
            log.info("%s has no annotations for test: the validation split is used.", root)
            splits[split] = splits["val"]
            continue
        names, splits[split] = _read(file, root, missing_images=missing_images, outside=outside)
        if classes and names != classes:
            raise UsageError(
                f"{file} and the annotations for train have different categories:\n"
                f"  {_listed(names)}\n  {_listed(classes)}"
            )
        classes = names
    return list(classes.values()), splits


def _find(root: Path, split: str) -> Path | None:
    in_splits = [
        root / name / "_annotations.coco.json"
        for name in SPLITS[split].split("|")
        if (root / name / "_annotations.coco.json").is_file()
    ]
    in_annotations = [
        path
        for path in sorted((root / "annotations").glob("*.json"))
        if re.fullmatch(rf"(instances_)?({SPLITS[split]})(\d\d\d\d)?", path.stem)
    ]
    files = in_splits + in_annotations
    if len(files) > 1:
        raise UsageError(
            f"data.root={root} has several annotation files for {split}:\n"
            + "\n".join(f"  {path}" for path in files)
            + "\nKeep the file to use, and move the other files away."
        )
    return files[0] if files else None


def _read(
    file: Path, root: Path, *, missing_images: bool, outside: bool
) -> tuple[dict[int, str], list[CocoImage]]:
    try:
        content = json.loads(read_text(file))
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON: {error}.") from error
    categories, images, annotations = (
        _by_id(file, content, kind) for kind in ("categories", "images", "annotations")
    )
    names = {key: str(_field(file, "category", categories[key], "name")) for key in categories}
    names = dict(sorted(names.items()))
    if not names or len(set(names.values())) < len(names):
        raise UsageError(f"{file} must have categories, by different names: {_listed(names)}")
    index = {key: label for label, key in enumerate(names)}
    objects: dict[int, list[CocoObject]] = {key: [] for key in images}
    for key, entry in annotations.items():
        for field, known in (("image_id", images), ("category_id", categories)):
            if _field(file, "annotation", entry, field) not in known:
                kind = field.removesuffix("_id")
                raise UsageError(
                    f"{file}: annotation {key} belongs to {kind} {entry[field]}, "
                    "which the file does not have."
                )
        crowd = bool(entry.get("iscrowd", 0))
        objects[entry["image_id"]].append(
            CocoObject(key, index[entry["category_id"]], crowd, entry)
        )
    if not images:
        raise UsageError(f"{file} has no images.")
    paths = _paths(file, root, images, missing_images=missing_images)
    if not outside:
        check_inside(root, paths.values(), source=file)
    return names, [
        CocoImage(
            path=paths[key],
            width=int(_field(file, "image", images[key], "width")),
            height=int(_field(file, "image", images[key], "height")),
            objects=objects[key],
            source=file,
        )
        for key in sorted(images)
    ]


def _by_id(file: Path, content: Any, kind: str) -> dict[int, dict[str, Any]]:
    entries = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{file} has no list of {kind}: it is not a COCO annotation file.")
    by_id: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            raise UsageError(f"{file}: number {position} of its {kind} has no whole number as id.")
        if entry["id"] in by_id:
            raise UsageError(f"{file}: two of its {kind} have the id {entry['id']}.")
        by_id[entry["id"]] = entry
    return by_id


def _field(file: Path, kind: str, entry: dict[str, Any], field: str) -> Any:
    if entry.get(field) is None:
        raise UsageError(f"{file}: {kind} {entry['id']} has no {field}.")
    return entry[field]


def _paths(
    file: Path, root: Path, images: dict[int, dict[str, Any]], *, missing_images: bool
) -> dict[int, Path]:
    names = {key: str(_field(file, "image", entry, "file_name")) for key, entry in images.items()}
    stem = file.stem.removeprefix("instances_")
    folders = [file.parent, root / stem, root / "images" / stem, root / "images", root]
    first = next(iter(names.values()))
    folder = next((path for path in folders if (path / first).is_file()), None)
    if folder is None:  # no image to go by: choose a folder for the error message
        folder = next((path for path in folders[1:] if path.is_dir()), folders[0])
    paths = {key: folder / name for key, name in names.items()}
    missing = [key for key, path in paths.items() if not path.is_file()]
    if missing and not missing_images:
        raise UsageError(
            f"{file}: the file of image {missing[0]} is missing: {paths[missing[0]]} "
            f"({len(missing)} of {len(paths)} images).\n"
            "Add it, or leave such images out: data.skip_unreadable=true"
        )
    return paths


def check_inside(root: Path, paths: Iterable[Path], *, source: Path) -> None:
    """Check that the paths that a file names are in the folder of the data set.

    A link in that folder may lead elsewhere.

    Args:
        root: the folder of the data set.
        paths: the paths, absolute or relative to the current folder.
        source: the file that names them, for the message.

    Raises:
        UsageError: for the first path outside ``root``.
    """
    prefix, whole = f"{root}{os.sep}", f"{os.path.abspath(root)}{os.sep}"  # noqa: PTH100
    for path in map(str, paths):
        if path.startswith(prefix) and ".." not in path:
            continue  # a quick test, since there may be millions of paths
        inside = os.path.abspath(path).startswith(whole)  # noqa: PTH100
        if not (inside or Path(path).resolve().is_relative_to(root.resolve())):
            raise UsageError(
                f"{source} names {path}, which is outside data.root={root}.\n"
                "Name a folder that holds both as data.root, or allow it: data.outside_root=true"
            )


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{key} {name}" for key, name in names.items()) or "none"
