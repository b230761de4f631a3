"""Read the images, the objects and the classes of COCO annotation files."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..settings.data import DataFolder
from .coco_files import CocoFile, find_annotations, images_name, note_outlines, read_file
from .files import folder_of, folders_in, split_of
from .image_paths import existing_files, find_images
from .images import UnreadableImageError, image_size
from .reading_summary import OF_MISSING, Reading

FEW = 0.1  # of all objects; so few with coordinates below 1 may be in the corner of an image


class CocoObject(NamedTuple):
    """An annotation of an image."""

    id: int | str
    label: int  # index of its class
    crowd: bool
    content: dict[str, Any]  # its fields that describe its shape, as in the file


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
    """Read the class names in the order of their ids, and the annotated images by split.

    ``root`` is the folder of the data set, or its only annotation file. Without splits, all images
    are those of train. What is left out is counted in ``reading``.
    """
    files, root = find_annotations(root, reading), folder_of(root)
    contents = {file: read_file(file, split) for split, file in files.items()}
    if "test" in files and not contents[files["test"]].annotations:
        reading.note(f"{files['test']} has no annotations, so it is not used for the test.")
        del contents[files.pop("test")]
    names = _class_names(contents, reading)
    _use_crowds_as_objects(contents, reading)
    for file, content in contents.items():
        read = [item for item in content.annotations if not item.iscrowd]
        ignored = sum(item.ignore not in (None, "", 0, "0") for item in read)
        if ignored:
            reading.note(
                f"{file}: annotations with the entry ignore: {ignored}. They are used as objects, "
                "since COCO ignores crowds (iscrowd) only."
            )
        note_outlines(file, content, reading)
    splits = {}
    for split, file in files.items():
        paths = _image_files(file, contents[file], root, settings, reading, split)
        splits[split] = images = _images(file, contents[file], paths, [*names], settings)
        check_pixels(images, reading)
        objects = [item for image in images for item in image.objects]
        if lost := len(contents[file].annotations) - len(objects):
            reading.leave_out("objects", OF_MISSING, file, split=split, count=lost)
        if crowds := sum(item.crowd for item in objects):
            reason = "crowds (iscrowd), which are ignored"
            reading.leave_out("objects", reason, file, split=split, count=crowds)
    return list(names.values()), splits


def _class_names(contents: dict[Path, CocoFile], reading: Reading) -> dict[int | str, str]:
    """Return the names by id, without unused supercategories and an unused background."""
    named = {
        file: {entry.id: entry.name for entry in sorted(content.categories, key=_by_id)}
        for file, content in contents.items()
    }
    train = next(iter(contents))
    used = {entry.category_id for content in contents.values() for entry in content.annotations}
    names = {}
    for key, name in named[train].items():
        others = (entry for entry in contents[train].categories if entry.id != key)
        parent = any(entry.supercategory == name for entry in others)
        if key not in used and (parent or name.strip("_").casefold() == "background"):
            reason = "background or supercategories without annotations"
            reading.leave_out("categories", reason, train)
            reading.note(
                f"{train}: category {key} {name} is not used as a class, since it has no "
                "annotation and is the background or the supercategory of others."
            )
        else:
            names[key] = name
    if not names or len({*names.values()}) < len(names):
        raise UsageError(
            f"{train} must have categories of unique names, not {_listed(names)}.\n"
            "List each class once, with an id and a name."
        )
    for file, categories in named.items():
        if not categories.items() <= named[train].items():
            raise UsageError(
                f"{file} and the annotations for train have different categories:\n"
                f"  {_listed(categories)}\n  {_listed(named[train])}\n"
                f"Write all categories into {train}, and give each the same id in all files."
            )
    return names


def _by_id(entry: Any) -> tuple[bool, int | str]:
    """Sort numbers before texts."""
    return isinstance(entry.id, str), entry.id


def _listed(names: dict[int | str, str]) -> str:
    return ", ".join(f"{key} {name}" for key, name in names.items()) or "none"


def _use_crowds_as_objects(contents: dict[Path, CocoFile], reading: Reading) -> None:
    """Turn crowds with an outline into objects, in each file whose annotations are all crowds.

    Some tools write each painted object as a crowd. Nothing is changed if the file of train has
    other annotations, too.
    """
    only_crowds = [
        file
        for file, content in contents.items()
        if all(entry.iscrowd for entry in content.annotations)
    ]
    for file in only_crowds if next(iter(contents)) in only_crowds else []:
        for entry in contents[file].annotations:
            entry.iscrowd = not entry.outline
        reading.note(
            f"{file}: all annotations are crowds (iscrowd), {len(contents[file].annotations)}. "
            "Those with an outline are used as objects, since some tools write painted objects as "
            "crowds."
        )


def _image_files(
    file: Path, content: CocoFile, root: Path, settings: DataFolder, reading: Reading, split: str
) -> list[Path | None]:
    """Return the file of each image, see ``existing_files``."""
    names = [image.file_name for image in content.images]
    stem = images_name(file)
    named = split_of(stem.rstrip("0123456789")) is not None
    # Images beside the annotations may be previews, unless the folder is that of the images.
    first = root / stem if named or file.parent.name == "annotations" else file.parent
    folders = [first, root / stem, root / "images" / stem, root / "images", root, file.parent]
    folders += [file.parent / "images", file.parent / "data"]  # the last one of FiftyOne
    parents = [path for path in (root, root / "images") if path.is_dir()]
    others = [parent / name for parent in parents for name in folders_in(parent)]  # valid/ for val
    place = 3 if named else len(folders)  # the images of another split may have the same names
    folders[place:place] = [path for path in others if split_of(path.name) == split]
    paths, dropped = find_images(names, folders)
    if dropped:
        reading.note(f"{file} names {names[0]}, which is read as {paths[0]}.")
    return existing_files(paths, root, settings, reading, split=split, source=file)


def _images(
    file: Path,
    content: CocoFile,
    paths: list[Path | None],
    classes: list[int | str],
    settings: DataFolder,
) -> list[CocoImage]:
    labels = {key: label for label, key in enumerate(classes)}
    objects: dict[int | str, list[CocoObject]] = {image.id: [] for image in content.images}
    for entry in content.annotations:
        if entry.image_id not in objects or entry.category_id not in labels:
            kind = "category" if entry.image_id in objects else "image"
            raise UsageError(
                f"{file}: annotation {entry.id} belongs to {kind} {getattr(entry, f'{kind}_id')}, "
                f"which the file does not have.\nAdd this {kind}, or remove the annotation."
            )
        # ~ if cookiecutter.task == "detection"
        shape = {"bbox": entry.rectangle, "area": entry.area}
        # ~ else
        shape = {"segmentation": entry.outline}
        # ~ endif
        item = CocoObject(entry.id, labels[entry.category_id], bool(entry.iscrowd), shape)
        objects[entry.image_id].append(item)
    images = []
    pairs = zip(content.images, paths, strict=True)
    for image, path in sorted(pairs, key=lambda pair: _by_id(pair[0])):
        if path is None:
            continue
        height = width = 0
        with suppress(OverflowError, TypeError, ValueError):
            height, width = int(image.height), int(image.width)
        height, width = readable_size(path, (height, width), settings)
        known = objects[image.id] if height else []  # outlines need the size
        images.append(CocoImage(path, width, height, known, file))
    return images


def check_pixels(images: list[CocoImage], reading: Reading) -> None:
    """Refuse coordinates from 0 to 1, so relative to width and height; note few among others."""
    relative, others = list[CocoImage](), list[CocoImage]()  # the image of each object
    for image in images:
        for item in image.objects:
            (relative if _is_relative(item.content) else others).append(image)
    if not relative:
        return
    found, total = f"{relative[0].source}: all coordinates are from 0 to 1", len(relative + others)
    if others:
        found += (
            f" in {len(relative)} of {total} objects, such as in {relative[0].path}, but not in "
            f"{others[0].path}"
        )
    if others and (len(relative) == 1 or len(relative) < FEW * total):
        reading.note(f"{found}. They are read as pixels: correct them if they are not.")
        return
    raise UsageError(
        f"{found}, so relative to width and height, but they must be pixels.\n"
        "Multiply x by the width and y by the height of the image."
    )


def _is_relative(content: dict[str, Any]) -> bool:
    # ~ if cookiecutter.task == "detection"
    return bool(0 < max(content["bbox"]) < 1.01)  # four zeros are no box


    # ~ else
    outline = content["segmentation"]
    polygon = outline[0] if isinstance(outline, list) and outline else None
    if not isinstance(polygon, list) or not any(polygon):
        return False
    return all(isinstance(number, int | float) and 0 <= number <= 1 for number in polygon)


    # ~ endif
def readable_size(path: Path, size: tuple[int, int], settings: DataFolder) -> tuple[int, int]:
    """Return an annotated height and width, or those of the file if they are not annotated.

    They are 0, 0 if the file is unreadable and ``data.skip_unreadable`` is set.
    """
    if min(size) > 0:
        return size
    try:
        return image_size(path, settings.pixels)
    except UnreadableImageError:
        if not settings.skip_unreadable:
            raise
        return 0, 0  # the file is counted when it is loaded
