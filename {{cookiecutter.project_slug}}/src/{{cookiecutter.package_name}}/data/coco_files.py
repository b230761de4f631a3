"""Find and parse the COCO annotation files of a data set, and find the images that they name."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import UsageError
from ..settings.data import DataFolder
from .files import SPLIT_NAMES, is_hidden, split_folders, succeeds
from .image_paths import check_inside, existing_form, find_images
from .reading_summary import MISSING, Reading
from .text_files import read_json

IN_SPLIT = "_annotations.coco.json"  # as Roboflow writes it into the folder of each split
LAYOUTS = """These layouts are read, each with a file for train, for val and, optionally, for test:
  annotations/instances_train2017.json with train2017/
  annotations/train.json or train.json with train/ or images/
  train/_annotations.coco.json with the images in the same folder
Or a single file for all images, such as instances.json or result.json with images/."""
KeyT = TypeVar("KeyT")


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
            + "\nName the one to use, as data.root=<file>."
            # ~ if cookiecutter.scope == "complete"
            " If there is a file for each image: data=labelme"
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
    content = read_json(file)
    categories, images, annotations = (
        _by_id(file, content, kind) for kind in ("categories", "images", "annotations")
    )
    if not images:
        raise UsageError(f"{file} has no images.")
    return CocoFile(file, categories, images, annotations)


def _by_id(file: Path, content: Any, kind: str) -> dict[int, dict[str, Any]]:
    # The images of COCO's test have no annotations.
    default: list[Any] | None = [] if kind == "annotations" else None
    entries = content.get(kind, default) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{file} has no list of {kind}: it is not a COCO annotation file.")
    by_id: dict[int, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        shown = entry.get("id") if isinstance(entry, dict) else None
        key = to_id(shown)
        if key is None:
            reason = "no id" if shown is None else f"the id {shown!r}, which is not a whole number"
            raise UsageError(f"{file}: entry {position} of {kind} (counted from 0) has {reason}.")
        if key in by_id:
            raise UsageError(
                f"{file}: two of its {kind} have the id {key}.\nGive each of them an id of its own."
            )
        by_id[key] = entry
    return by_id


def to_id(value: Any) -> int | None:
    """Return an id as an integer, also if it is ``"1"``, ``1.0`` or ``"1.0"``, or None."""
    if type(value) is int:
        return value
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, bool) and int(float(value)) == float(value):
            text = str(value).strip()
            return int(text) if text.lstrip("-").isdecimal() else int(float(text))
    return None


def required(file: Path, kind: str, entry: dict[str, Any], field: str) -> Any:
    """Return a field of an entry of this kind, or raise a UsageError if the entry lacks it."""
    if entry.get(field) is None:
        raise UsageError(f"{file}: {kind} {entry['id']} has no {field}.")
    return entry[field]


def image_files(
    content: CocoFile, root: Path, settings: DataFolder, reading: Reading, split: str
) -> dict[int, Path]:
    """Return the files of the images of a split by id, see ``existing_files``."""
    file, images = content.path, content.images
    names = {key: str(required(file, "image", entry, "file_name")) for key, entry in images.items()}
    stem = file.stem.removeprefix("instances_")
    folders = [file.parent, root / stem, root / "images" / stem, root / "images", root]
    located, dropped = find_images(list(names.values()), [*folders, file.parent / "images"])
    if dropped:
        name = next(iter(names.values()))
        reading.note(f"{file} names {name}, which is read as {located[0]}.")
    paths = dict(zip(names, located, strict=True))
    return existing_files(paths, root, settings, reading, split=split, source=file)


def existing_files(
    paths: dict[KeyT, Path],
    root: Path,
    settings: DataFolder,
    reading: Reading,
    *,
    split: str,
    source: Path,
) -> dict[KeyT, Path]:
    """Return paths that ``source`` names in the form in which the files exist.

    With ``data.skip_unreadable``, missing files are left out and counted. Only paths that are not
    listed below ``root`` need a system call, which may take long.

    Raises:
        UsageError: if a file is missing otherwise, or outside of ``root`` without
            ``data.outside_root``.
    """
    known = {*reading.listed(root).images}
    if not all(str(path) in known or succeeds(path.is_file) for path in paths.values()):
        paths = {key: existing_form(path) for key, path in paths.items()}
        missing = {key: path for key, path in paths.items() if not succeeds(path.is_file)}
        for path in missing.values():
            if not settings.skip_unreadable:
                raise UsageError(
                    f"{source} names {path}, which is missing ({len(missing)} of {len(paths)} "
                    "images).\nAdd it, or leave such images out: data.skip_unreadable=true"
                )
            reading.leave_out("images", MISSING, path, split=split)
        paths = {key: path for key, path in paths.items() if key not in missing}
    if not settings.outside_root:
        check_inside(root, paths.values(), source=source)
    return paths
