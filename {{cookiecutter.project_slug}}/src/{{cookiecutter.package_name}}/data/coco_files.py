"""Find and parse the COCO annotation files of a data set, with or without splits."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .files import SPLIT_NAMES, is_hidden, split_folders
from .text import read_text

IN_SPLIT = "_annotations.coco.json"  # as Roboflow writes it into the folder of each split
LAYOUTS = """These layouts are read, each with a file for train, for val and, optionally, for test:
  annotations/instances_train2017.json with train2017/
  annotations/train.json or train.json with train/ or images/
  train/_annotations.coco.json with the images in the same folder
Or a single file for all images, such as instances.json or result.json with images/."""


class CocoFile(NamedTuple):
    """The entries of an annotation file by their ids."""

    path: Path
    categories: dict[int, dict[str, Any]]
    images: dict[int, dict[str, Any]]
    annotations: dict[int, dict[str, Any]]


def find_annotations(root: Path) -> dict[str, Path]:
    """Return the annotation files by split; a single file for all images is that of train.

    Args:
        root: the folder of the data set, or its only annotation file.

    Raises:
        UsageError: if there is no such file, or several from which one must be chosen.
    """
    if root.is_file():
        return {"train": root}
    files = _files_of_splits(root)
    if "train" in files:
        return files
    single = _json_files(root)
    if len(single) == 1 and not files:
        return {"train": single[0]}
    if len(single) > 1 and not files:
        raise UsageError(
            f"data.root={root} has {len(single)} JSON files, but none is named after train:\n"
            + "\n".join(f"  {path}" for path in single[:5])
            # ~ if cookiecutter.scope == "complete"
            + "\nName the one to use, as data.root=<file>. If there is a file for each image: "
            "data=labelme"
            # ~ else
            + "\nName the one to use, as data.root=<file>."
            # ~ endif
        )
    raise UsageError(f"data.root={root} has no annotations for train.\n{LAYOUTS}")


def _files_of_splits(root: Path) -> dict[str, Path]:
    folders = split_folders(root)
    files = {}
    for split, words in SPLIT_NAMES.items():
        matching = [
            path
            for path in _json_files(root)
            if re.fullmatch(rf"(instances_)?({'|'.join(words)})(\d\d\d\d)?", path.stem.lower())
        ]
        if split in folders and (folders[split] / IN_SPLIT).is_file():
            matching.insert(0, folders[split] / IN_SPLIT)
        if len(matching) > 1:
            raise UsageError(
                f"data.root={root} has several annotation files for {split}:\n"
                + "\n".join(f"  {path}" for path in matching)
                + "\nKeep the file to use, and move the other files away."
            )
        if matching:
            files[split] = matching[0]
    return files


def _json_files(root: Path) -> list[Path]:
    folders = [root, root / "annotations"]
    files = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in files if not is_hidden(path.name)]


def read_file(file: Path) -> CocoFile:
    """Parse an annotation file, or raise a UsageError if it is not one or has no images."""
    try:
        content = json.loads(read_text(file))
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON: {error}.") from error
    categories, images, annotations = (
        _by_id(file, content, kind) for kind in ("categories", "images", "annotations")
    )
    if not images:
        raise UsageError(f"{file} has no images.")
    return CocoFile(file, categories, images, annotations)


def _by_id(file: Path, content: Any, kind: str) -> dict[int, dict[str, Any]]:
    entries = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{file} has no list of {kind}: it is not a COCO annotation file.")
    by_id: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int):
            shown = entry.get("id") if isinstance(entry, dict) else None
            reason = f"the id {shown!r}, not a whole number" if shown else "no whole number as id"
            raise UsageError(f"{file}: number {position} of its {kind} has {reason}.")
        if entry["id"] in by_id:
            raise UsageError(f"{file}: two of its {kind} have the id {entry['id']}.")
        by_id[entry["id"]] = entry
    return by_id


def required(file: Path, kind: str, entry: dict[str, Any], field: str) -> Any:
    """Return a field of an entry of this kind, or raise a UsageError if the entry lacks it."""
    if entry.get(field) is None:
        raise UsageError(f"{file}: {kind} {entry['id']} has no {field}.")
    return entry[field]
