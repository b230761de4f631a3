"""Read the images, the objects and the classes of COCO annotation files."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..settings.data import DataFolder
from .coco_files import CocoFile, find_annotations, image_files, read_file, required, to_id
from .files import folder_of
from .images import UnreadableImageError, image_size
from .reading_summary import OF_MISSING, Reading, number_of


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
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the images of the splits that the data have, with their annotations.

    Args:
        root: the folder of the data set, or its only annotation file.
        settings: how image files are read, and whether they may be missing or outside of ``root``.
        reading: counts what is left out.

    Returns:
        The names of the classes in the order of their ids, and the images by split; without splits,
        all images are those of train.

    Raises:
        UsageError: if a file or an annotation is missing or invalid.
    """
    files, root = find_annotations(root), folder_of(root)
    contents = {split: read_file(file) for split, file in files.items()}
    _check_annotated(contents, reading)
    names = _class_names(list(contents.values()), reading)
    used_crowds = _crowds_that_are_objects(contents, reading)
    splits = {}
    for split, content in contents.items():
        paths = image_files(content, root, settings, reading, split)
        images = _images(content, paths, list(names), used_crowds, settings)
        if lost := len(content.annotations) - sum(len(image.objects) for image in images):
            reading.leave_out("objects", OF_MISSING, content.path, split=split, count=lost)
        if crowds := sum(item.crowd for image in images for item in image.objects):
            reason = "crowds (iscrowd), which are ignored"
            reading.leave_out("objects", reason, content.path, split=split, count=crowds)
        splits[split] = images
    return list(names.values()), splits


def _names(content: CocoFile) -> dict[int, str]:
    return {
        key: str(required(content.path, "category", entry, "name")).strip()
        for key, entry in sorted(content.categories.items())
    }


def _check_annotated(contents: dict[str, CocoFile], reading: Reading) -> None:
    """Refuse a split without annotations; if it is the test split, remove it."""
    for split, content in list(contents.items()):
        if content.annotations:
            continue
        if split == "test":
            reading.note(f"{content.path} has no annotations, so it is not used for the test.")
            del contents[split]
            continue
        verb = "measure" if split == "val" else "learn"
        raise UsageError(
            f"{content.path} has {number_of(len(content.images), 'images')}, but no annotations, "
            f"so there is nothing to {verb}.\nAnnotate the objects of {split}, or move annotated "
            "images of another split there."
        )


def _class_names(contents: Sequence[CocoFile], reading: Reading) -> dict[int, str]:
    """Return the names of the categories by id, in the order of the ids.

    A category without annotations in any split is left out if it is the supercategory of another,
    or the background.
    """
    file, categories = contents[0].path, contents[0].categories
    all_names = _names(contents[0])
    used = {
        to_id(entry.get("category_id"))
        for content in contents
        for entry in content.annotations.values()
    }
    unused = [
        key
        for key, name in all_names.items()
        if key not in used
        and (
            name.strip("_").casefold() == "background"
            or any(
                entry.get("supercategory") == name
                for other, entry in categories.items()
                if other != key
            )
        )
    ]
    for key in unused:
        reading.leave_out("categories", "background or supercategories without annotations", file)
        reading.note(
            f"{file}: category {key} {all_names[key]} is not used as a class, since it has no "
            "annotation and is the background or the supercategory of others."
        )
    names = {key: name for key, name in all_names.items() if key not in unused}
    if not names or len({*names.values()} - {""}) < len(names):
        raise UsageError(f"{file} must have categories of unique names, not {_listed(names)}")
    for content in contents[1:]:
        if not _names(content).items() <= all_names.items():
            raise UsageError(
                f"{content.path} and the annotations for train have different categories:\n"
                f"  {_listed(_names(content))}\n  {_listed(all_names)}"
            )
    return names


def _crowds_that_are_objects(contents: Mapping[str, CocoFile], reading: Reading) -> set[Path]:
    """Return the files whose crowds are objects.

    Some tools write each painted object as a crowd. If all annotations of the training file are
    crowds, they are objects in this and in every other file that has crowds only.
    """
    only_crowds = {
        content.path: len(content.annotations)
        for content in contents.values()
        if content.annotations
        and all(_is_crowd(content.path, entry) for entry in content.annotations.values())
    }
    if next(iter(contents.values())).path not in only_crowds:
        return set()
    for file, count in only_crowds.items():
        reading.note(
            f"{file}: all annotations are crowds (iscrowd), {count}. Those with an outline are "
            "used as objects, since some tools write painted objects as crowds."
        )
    return set(only_crowds)


def _is_crowd(file: Path, entry: dict[str, Any]) -> bool:
    value = entry.get("iscrowd") or 0
    try:
        return bool(int(value))  # some tools write a text
    except (OverflowError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: annotation {entry['id']} has iscrowd={value!r}, which is neither 0 nor 1."
        ) from error


def _images(
    content: CocoFile,
    paths: dict[int, Path],
    classes: Sequence[int],
    used_crowds: set[Path],
    settings: DataFolder,
) -> list[CocoImage]:
    file, index = content.path, {key: label for label, key in enumerate(classes)}
    objects: dict[int, list[CocoObject]] = {key: [] for key in content.images}
    for key, entry in content.annotations.items():
        image, category = to_id(entry.get("image_id")), to_id(entry.get("category_id"))
        if image not in objects or category not in index:
            kind = "category" if image in objects else "image"
            value = required(file, "annotation", entry, f"{kind}_id")
            raise UsageError(
                f"{file}: annotation {key} belongs to {kind} {value!r}, which the file does not "
                f"have.\nAdd this {kind}, or remove the annotation."
            )
        crowd = _is_crowd(file, entry) and not (file in used_crowds and entry.get("segmentation"))
        objects[image].append(CocoObject(key, index[category], crowd, entry))
    entries, kinds = content.annotations.values(), ("bbox", "segmentation")
    if any(all(_is_relative(entry.get(kind)) for entry in entries) for kind in kinds):
        raise UsageError(
            f"{file}: all coordinates are from 0 to 1, so relative to width and height, but those "
            "of COCO are pixels.\nMultiply x by the width and y by the height of the image."
        )
    images = []
    for key in sorted(paths):
        height, width = _size(content.images[key], paths[key], settings)
        known = objects[key] if height else []  # outlines need the size
        images.append(CocoImage(paths[key], width, height, known, file))
    return images


def _is_relative(numbers: Any) -> bool:
    """Return whether all numbers of a list, or of its first list, are from 0 to 1."""
    if isinstance(numbers, list) and numbers and isinstance(numbers[0], list):
        numbers = numbers[0]
    if not isinstance(numbers, list) or not numbers:
        return False
    return all(isinstance(number, int | float) and 0 <= number <= 1 for number in numbers)


def _size(entry: dict[str, Any], path: Path, settings: DataFolder) -> tuple[int, int]:
    """Return the height and width of an image, from its file if its entry has no valid size."""
    with suppress(KeyError, OverflowError, TypeError, ValueError):
        height, width = int(entry["height"]), int(entry["width"])
        if min(height, width) > 0:
            return height, width
    return size_if_readable(path, settings)


def size_if_readable(path: Path, settings: DataFolder) -> tuple[int, int]:
    """Return height and width of an image file, or 0, 0 if it is unreadable and left out."""
    try:
        return image_size(path, settings.pixels)
    except UnreadableImageError:
        if not settings.skip_unreadable:
            raise
        return 0, 0  # the file is counted when it is loaded


def _listed(names: dict[int, str]) -> str:
    return ", ".join(f"{key} {name}" for key, name in names.items()) or "none"
