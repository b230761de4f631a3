"""Read data sets in YOLO format: ``data.yaml``, and a text file of boxes for each image."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data.files import (
    SPLIT_NAMES,
    SUFFIXES,
    folder_of,
    split_folders,
    split_lists,
    split_of,
    succeeds,
)
from ..data.image_paths import check_inside, existing_files, existing_form, find_images
from ..data.reading_summary import Reading
from ..data.text_files import read_lines
from ..errors import UsageError
from ..settings.data import DataFolder
from .boxes import MANY, AnnotatedImage
from .data_yaml import (
    EXAMPLE,
    check_other_lists,
    class_names,
    keypoint_values,
    read_description,
    texts,
)
from .yolo_labels import count_unused_labels, label_file, read_labels

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
    content = read_description(file)
    classes, keypoints = class_names(file, content), keypoint_values(file, content)
    named = next(iter(texts(content.get("path"))), ".")
    base = folder / named
    if not succeeds(base.is_dir):
        base = folder
        reading.note(f"{file} names the path {named}, which does not exist: {folder} is used.")
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
    places = sorted({path.rpartition(os.sep)[0] for path, _ in label_files})
    check_other_lists(file, classes, [*files, *(Path(place, "classes.txt") for place in places)])
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


def _find_entries(file: Path, content: dict[str, Any], base: Path) -> dict[str, list[str]]:
    """Return the folders or lists of the images by split; without splits, there is train only."""
    named: dict[str, list[str]] = {}
    for split, words in SPLIT_NAMES.items():
        for word in words:
            paths = (text.replace("\\", "/") for text in texts(content.get(word)))
            names = [*dict.fromkeys(paths)]
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
        label = Path(label_file(images[0].path))
        state, start = "has none" if label.is_file() else "does not exist", f"{label.stem}.".lower()
        near = [path for path in label.parent.glob("*.[tT][xX][tT]") if path != label]
        if alike := [path.name for path in near if path.name.lower().startswith(start)]:
            state += f", but {alike[0]} is there: rename such files"
        raise UsageError(
            f"{reason}.\nThe objects of {images[0].path} should be in {label}, which {state}. The "
            "path of a label file is that of the image with labels/ instead of the last images/."
        )
