"""Find, check and read COCO annotation files."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .coco_files import find_annotations
from .files import check_inside, folder_of, locate
from .images import image_size
from .reading import Reading
from .text import read_text


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


class _Content(NamedTuple):
    """The entries of an annotation file by their ids."""

    file: Path
    categories: dict[int, dict[str, Any]]
    images: dict[int, dict[str, Any]]
    annotations: dict[int, dict[str, Any]]


def read_coco(
    root: Path, reading: Reading, *, missing_images: bool = False, outside: bool = False
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the images of the splits that the data have, with their annotations.

    Args:
        root: the folder of the data set, or its only annotation file.
        reading: counts what is left out.
        missing_images: if true, image files may be missing; reading such an image then fails.
        outside: whether image files may be outside ``root``.

    Returns:
        The names of the classes in the order of their ids, and the images by split; without splits,
        all images are those of train.

    Raises:
        UsageError: if a file or an annotation is missing or invalid.
    """
    files, root = find_annotations(root), folder_of(root)
    contents = {split: _read_file(file) for split, file in files.items()}
    _check_annotated(contents, reading)
    if "val" in contents and "test" not in contents:
        reading.note(f"{root} has no annotations for the test: the validation images are tested.")
    names = _class_names(list(contents.values()), reading)
    used_crowds = _crowds_that_are_objects(contents, reading)
    splits = {}
    for split, content in contents.items():
        paths = _paths(content, root, reading, missing_images=missing_images)
        if not outside:
            check_inside(root, paths.values(), source=content.file)
        splits[split] = _images(content, paths, list(names), used_crowds)
        crowds = sum(item.crowd for image in splits[split] for item in image.objects)
        if crowds:
            reason = "crowds (iscrowd), which are ignored"
            reading.leave_out("objects", reason, content.file, split=split, count=crowds)
    if "test" not in splits and "val" in splits:
        splits["test"] = splits["val"]
    return list(names.values()), splits


def _read_file(file: Path) -> _Content:
    try:
        content = json.loads(read_text(file))
    except ValueError as error:
        raise UsageError(f"{file} is not valid JSON: {error}.") from error
    categories, images, annotations = (
        _by_id(file, content, kind) for kind in ("categories", "images", "annotations")
    )
    if not images:
        raise UsageError(f"{file} has no images.")
    return _Content(file, categories, images, annotations)


def _names(content: _Content) -> dict[int, str]:
    return {
        key: str(_field(content.file, "category", entry, "name"))
        for key, entry in sorted(content.categories.items())
    }


def _check_annotated(contents: dict[str, _Content], reading: Reading) -> None:
    """Refuse a split without annotations; if it is the test split, remove it."""
    for split, content in list(contents.items()):
        if content.annotations:
            continue
        if split == "test":
            reading.note(f"{content.file} has no annotations, so it is not used for the test.")
            del contents[split]
            continue
        verb = "measure" if split == "val" else "learn"
        raise UsageError(
            f"{content.file} has {len(content.images)} images, but no annotations, so there is "
            f"nothing to {verb}.\nAnnotate the objects of {split}, or move annotated images of "
            "another split there."
        )


def _class_names(contents: Sequence[_Content], reading: Reading) -> dict[int, str]:
    """Return the names of the categories by id, in the order of the ids.

    A category without annotations in any split is left out if it is the supercategory of another.
    """
    file, categories = contents[0].file, contents[0].categories
    all_names = _names(contents[0])
    used = {
        entry.get("category_id") for content in contents for entry in content.annotations.values()
    }
    parents = {
        key
        for key, name in all_names.items()
        if key not in used
        and any(
            entry.get("supercategory") == name
            for other, entry in categories.items()
            if other != key
        )
    }
    for key in sorted(parents):
        reading.leave_out("categories", "the parent of others, without annotations", file)
        reading.note(
            f"{file}: category {key} {all_names[key]} is no class, since it is the supercategory "
            "of others and has no annotation."
        )
    names = {key: name for key, name in all_names.items() if key not in parents}
    if not names or len(set(names.values())) < len(names):
        raise UsageError(f"{file} must have categories, by different names: {_listed(names)}")
    for content in contents[1:]:
        if _names(content) != all_names:
            raise UsageError(
                f"{content.file} and the annotations for train have different categories:\n"
                f"  {_listed(_names(content))}\n  {_listed(all_names)}"
            )
    return names


def _crowds_that_are_objects(contents: Mapping[str, _Content], reading: Reading) -> set[Path]:
    """Return the files whose crowds are objects.

    Some tools write each painted object as a crowd. If all annotations of the training file are
    crowds, so that nothing could be learned, they are objects there and in each such file.
    """
    only_crowds = {
        content.file: len(content.annotations)
        for content in contents.values()
        if content.annotations
        and all(_is_crowd(content.file, entry) for entry in content.annotations.values())
    }
    if next(iter(contents.values())).file not in only_crowds:
        return set()
    for file, count in only_crowds.items():
        reading.note(
            f"{file}: all {count} annotations are crowds (iscrowd). Those with an area of their "
            "own are used as objects, since some tools write painted objects so."
        )
    return set(only_crowds)


def _is_crowd(file: Path, entry: dict[str, Any]) -> bool:
    value = entry.get("iscrowd") or 0
    try:
        return bool(int(value))  # some tools write a text
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: annotation {entry['id']} has iscrowd={value!r}, which is neither 0 nor 1."
        ) from error


def _images(
    content: _Content, paths: dict[int, Path], classes: Sequence[int], used_crowds: set[Path]
) -> list[CocoImage]:
    file, index = content.file, {key: label for label, key in enumerate(classes)}
    objects: dict[int, list[CocoObject]] = {key: [] for key in content.images}
    for key, entry in content.annotations.items():
        for field, known in (("image_id", objects), ("category_id", index)):
            if _field(file, "annotation", entry, field) not in known:
                kind = field.removesuffix("_id")
                raise UsageError(
                    f"{file}: annotation {key} belongs to {kind} {entry[field]}, "
                    "which the file does not have."
                )
        crowd = _is_crowd(file, entry) and not (file in used_crowds and entry.get("segmentation"))
        objects[entry["image_id"]].append(
            CocoObject(key, index[entry["category_id"]], crowd, entry)
        )
    images = []
    for key in sorted(content.images):
        height, width = _size(content.images[key], paths[key])
        images.append(CocoImage(paths[key], width, height, objects[key], file))
    return images


def _size(entry: dict[str, Any], path: Path) -> tuple[int, int]:
    """Return the height and width of an image, from its file if its entry has no valid size."""
    with suppress(KeyError, TypeError, ValueError):
        height, width = int(entry["height"]), int(entry["width"])
        if min(height, width) > 0:
            return height, width
    return image_size(path)


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
    content: _Content, root: Path, reading: Reading, *, missing_images: bool
) -> dict[int, Path]:
    file, images = content.file, content.images
    names = {key: str(_field(file, "image", entry, "file_name")) for key, entry in images.items()}
    stem = file.stem.removeprefix("instances_")
    folders = [file.parent, root / stem, root / "images" / stem, root / "images", root]
    folders.append(file.parent / "images")
    located, dropped = locate(list(names.values()), folders)
    paths = dict(zip(names, located, strict=True))
    if dropped:
        name = next(iter(names.values()))
        reading.note(f"{file} names {name}, which is read as {located[0]}.")
    missing = [key for key, path in paths.items() if not path.is_file()]
    if missing and not missing_images:
        raise UsageError(
            f"{file}: the file of image {missing[0]} is missing: {paths[missing[0]]} "
            f"({len(missing)} of {len(paths)} images).\n"
            "Add it, or leave such images out: data.skip_unreadable=true"
        )
    return paths


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{key} {name}" for key, name in names.items()) or "none"
