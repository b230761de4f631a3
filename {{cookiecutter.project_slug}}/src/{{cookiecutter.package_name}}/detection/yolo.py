"""Read data sets in YOLO format: ``data.yaml``, and a text file of boxes for each image."""

import os
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..data.files import (
    SPLIT_NAMES,
    SUFFIXES,
    folder_of,
    folders_in,
    is_hidden,
    split_folders,
    split_of,
    succeeds,
)
from ..data.image_paths import check_inside, existing_files, existing_form, find_images
from ..data.reading_summary import Reading
from ..data.text_files import read_lines, read_text
from ..errors import UsageError
from ..settings.data import DataFolder
from .boxes import MANY, AnnotatedImage
from .voc import split_lists
from .yolo_labels import count_unused_labels, label_file, read_labels

EXAMPLE = """data.yaml must contain the names of the classes; without splits, the images are split:
  train: images/train
  val: images/val
  names: [cat, dog]
Without data.yaml, classes.txt must have the name of a class on each line."""
# The last three are lists of the class names, as labelImg, Label Studio and Darknet write them.
FILES = (
    *("data.yaml", "data.yml", "dataset.yaml"),
    *("classes.txt", "labels/classes.txt", "obj.names"),
)


def read_yolo(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the class names, and the annotated images by split.

    ``root`` is the folder of ``data.yaml``, or that file itself. Without splits, all images are
    those of train.
    """
    files, folder = [root / name for name in FILES], folder_of(root)
    file = root if root.is_file() else next((path for path in files if path.is_file()), files[0])
    content = _read_description(file)
    classes, keypoints = _class_names(file, content), _keypoint_values(file, content)
    base = folder / next(iter(_texts(content.get("path"))), ".")
    base = base if succeeds(base.is_dir) else folder
    splits: dict[str, list[AnnotatedImage]] = {}
    label_files: list[tuple[str, str]] = []  # and their images
    for split, names in _find_entries(file, content, base).items():
        sources = [_resolve(base, name) for name in names]
        if None in sources:
            absent = names[sources.index(None)]
            if split != "test":
                raise UsageError(
                    f"{file} names {absent}, but there is no {base / absent}.\n"
                    f"Correct {split} or path in this file, or move the images there."
                )
            reading.note(f"{file} names {absent}, which does not exist.")
            continue
        images: list[str] = []
        for name, source in zip(names, filter(None, sources), strict=True):
            if source not in {base / name, base / name.removeprefix("../")}:
                reading.note(f"{file} names {name}, which is read as {source}.")
            if source.is_dir():
                found = reading.listed(folder).images_in(source)
                if not settings.outside_root:
                    check_inside(folder, found, source=file)
            else:
                lines = read_lines(source)
                paths = find_images(lines, [source.parent, base])[0] if lines else []
                existing = existing_files(
                    paths, folder, settings, reading, split=split, source=source
                )
                found = [*map(str, filter(None, existing))]
            images += found
        images.sort(key=lambda path: path.split(os.sep))  # noqa: PTH206 - faster than a Path
        labelled = [(label_file(image), image) for image in images]
        splits[split] = read_labels(labelled, split, len(classes), keypoints, reading)
        label_files += labelled
        _note_corners(split, splits[split], reading)
    _check_objects(file, splits, reading)
    count_unused_labels(label_files, reading)
    return classes, splits


def _note_corners(split: str, images: Sequence[AnnotatedImage], reading: Reading) -> None:
    """Note that the boxes may be two corners, if each has a width above x and a height above y."""
    boxes = (item.box for image in images for item in image.objects)
    many = sum(len(image.objects) for image in images) >= MANY
    # With the centre x, width > x is x2 - x1 > (x1 + x2) / 2.
    if many and all(x2 > 3 * x1 and y2 > 3 * y1 for x1, y1, x2, y2 in boxes):
        reading.note(
            "Each box may be two corners, since its third and fourth number exceed the first and "
            "second one. They are read as width and height: check this in the pictures of "
            "predictions, which show the boxes, too.",
            split=split,
        )


class _TextLoader(yaml.BaseLoader):
    """Reads all values as text, so that a class may be named "no" or "1.0"."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as in PyYAML
    ) -> dict[Hashable, Any]:
        """Return a mapping; a repeated key, of which PyYAML takes the last value, is an error."""
        for key, count in Counter(str(key.value) for key, _ in node.value).items():
            if count > 1:
                raise yaml.YAMLError(f"{key} occurs {count} times in the same mapping")
        return super().construct_mapping(node, deep)


def _read_description(file: Path) -> dict[str, Any]:
    """Return the content of ``data.yaml`` with all values as text, or the names of another file."""
    suffix = file.suffix.lower()
    if suffix not in {".yaml", ".yml"}:
        names = read_lines(file) if suffix in {".txt", ".names"} else []
        if not names or Path(names[0]).suffix.lower() in SUFFIXES:
            raise UsageError(f"{file} is not a list of class names.\n{EXAMPLE}")
        return {"names": names}
    try:
        content = yaml.load(read_text(file), Loader=_TextLoader)  # noqa: S506
    except FileNotFoundError as error:
        folders_in(file.parent)  # refuses a folder that does not exist
        others = [path for path in sorted(file.parent.rglob("*.y*ml")) if not is_hidden(path.name)]
        other = "".join(f"To read {path}: data.root={path}\n" for path in others[:1])
        raise UsageError(f"{file} is missing.\n{other}{EXAMPLE}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def _texts(value: object) -> list[str]:
    """Return a value of ``data.yaml``, or those of a list, as texts without nulls."""
    values = map(str, value if isinstance(value, list) else [value])
    return [text for text in values if text not in {"", "None", "null", "Null", "NULL", "~"}]


def _class_names(file: Path, content: dict[str, Any]) -> list[str]:
    names = content.get("names")
    if isinstance(names, dict):
        ids = [*map(str, range(len(names)))]
        if {*names} != {*ids}:
            raise UsageError(
                f"{file}: the ids of names are {', '.join(names)}, but must be 0 to "
                f"{len(names) - 1} without a gap.\nName a class of the missing ids, such as "
                f"{min({*ids} - {*names})}: unused"
            )
        names = [names[index] for index in ids]
    listed = names if isinstance(names, list) else []
    classes = [name.strip() for name in listed if isinstance(name, str)]
    if not classes or len({*classes} - {""}) < len(listed):
        raise UsageError(f"{file} must list a unique name for each class under names.\n{EXAMPLE}")
    if _texts(content.get("nc")) not in ([], [str(len(classes))]):
        raise UsageError(
            f"{file}: nc is {content['nc']}, but names has {len(classes)} classes.\n"
            "Correct names, or remove nc."
        )
    return classes


def _keypoint_values(file: Path, content: dict[str, Any]) -> int:
    """Return how many numbers the key points of an object have; 0 without ``kpt_shape``."""
    try:
        points, values = map(int, content.get("kpt_shape", (0, 0)))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: kpt_shape is {content['kpt_shape']}, but it must be the number of key points "
            "and the numbers of each: [17, 3]"
        ) from error
    return points * values


def _find_entries(file: Path, content: dict[str, Any], base: Path) -> dict[str, list[str]]:
    """Return the folders or lists of the images by split; without splits, there is train only."""
    named: dict[str, list[str]] = {}
    for split, words in SPLIT_NAMES.items():
        for word in words:
            texts = _texts(content.get(word))
            names = [*dict.fromkeys(text.replace("\\", "/") for text in texts)]
            given = names or content.get(word) == []
            if given and named.setdefault(split, names) != names:
                raise UsageError(
                    f"{file} names other images for {split} as {word}: {content[word]}.\n"
                    "Keep one of the entries."
                )
    if named and "train" not in named:
        raise UsageError(f"{file} has no train.\n{EXAMPLE}")
    if named:
        return named
    folder = base / "images" if (base / "images").is_dir() else base
    places = split_folders(folder) or _image_lists(base) or {"train": folder}
    return {split: [str(path.relative_to(base))] for split, path in places.items()}


def _image_lists(folder: Path) -> dict[str, Path]:
    """Return the lists of images by split, such as train.txt, if there is one for train."""
    lists = {
        split: path
        for split, path in split_lists(folder).items()
        if any(Path(line).suffix.lower() in SUFFIXES for line in read_lines(path)[:1])
    }
    return lists if "train" in lists else {}


def _resolve(base: Path, name: str) -> Path | None:
    """Return what ``data.yaml`` names; a path of another computer is found by its last parts.

    One of these parts must name a split. Some tools write ../train/images for train/images.
    """
    parts = name.split("/")
    ends = (parts[start:] for start in range(1, len(parts)))
    moved = ("/".join(end) for end in ends if any(split_of(Path(part).stem) for part in end))
    candidates = (base / path for path in (name, name.removeprefix("../"), *moved))
    return next((path for path in map(existing_form, candidates) if succeeds(path.exists)), None)


def _check_objects(file: Path, splits: dict[str, list[AnnotatedImage]], reading: Reading) -> None:
    """Refuse a split without any object; if it is the test split, remove it."""
    for split, images in list(splits.items()):
        if any(image.objects for image in images):
            continue
        reason = f"{file}: none of the {len(images)} images of {split} has an object"
        if split == "test":
            reading.note(f"{reason}, so it is not used for the test.")
            del splits[split]
            continue
        if not images:
            raise UsageError(
                f"{file}: there is no image for {split}.\nCorrect its entry, or data.root."
            )
        label = label_file(images[0].path)
        state = "has none" if Path(label).is_file() else "does not exist"
        raise UsageError(
            f"{reason}.\nThe objects of {images[0].path} should be in {label}, which {state}. The "
            "path of a label file is that of the image with labels/ instead of the last images/."
        )
