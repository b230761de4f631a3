"""Read the images of class folders, with or without splits, and write the generated images."""

import os
import re
import unicodedata
from collections import defaultdict
from itertools import repeat, zip_longest
from pathlib import Path

from ..data.check_datasets import MAX_NAMES
from ..data.files import SUFFIXES, folders_in, split_folders, split_of
from ..data.reading_summary import Reading
from ..data.shapes import CLASSES, Images, draw_shape, write_once
from ..errors import UsageError
from ..settings.data import ShapesSettings

Files = list[tuple[str, int]]  # the path and the class index of each image
SHAPES_VERSION = 2  # increase it when the same settings draw different images
ALL_IMAGES = {"images", "img", "imgs", "jpegimages"}  # names of folders that are no classes
# The name of a folder that may be a split, such as trainset or fold1.
SPLIT_WORD = re.compile(
    r"(?<![a-z])(train|val|test|dev(?![a-z]))|^(fold|split)[^a-z]+$", re.IGNORECASE
)


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the generated data set into class folders, unless it exists, and return its folder."""

    def write(folder: Path, images: Images) -> None:
        for split, index, rng in images:
            kind = CLASSES[index % len(CLASSES)]
            path = folder / split / kind / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_shape(rng, kind, settings.input_size).save(path)

    recipe = ["folders", SHAPES_VERSION, settings.image_size]
    return write_once(settings.root, settings.counts, recipe, write)


def read_image_folders(root: Path, reading: Reading) -> tuple[list[str], dict[str, Files]]:
    """Return the class names, and the images by split; without splits, all are those of train."""
    folders = _find_split_folders(root, reading) or {"train": root}
    classes = _class_folders(folders["train"], alone=len(folders) == 1)
    images: dict[str, Files] = {split: [] for split in folders}
    for split, folder in folders.items():
        names = folders_in(folder)
        forms = {_composed(name): name for name in names} | {name: name for name in names}
        matching = [forms.get(name) or forms.get(_composed(name)) for name in classes]
        if extra := [name for name in names if name not in matching]:
            raise UsageError(
                f"{folder} has class folders that are not in train: {', '.join(extra)}.\n"
                f"Those of train are {', '.join(classes)}. Use the same names, or move folders of "
                "images without a class away."
            )
        for target, name in enumerate(matching):
            paths = reading.listed(root).images_in(folder / name) if name else []
            if split == "train" and not paths:
                raise UsageError(
                    f"{folder / classes[target]} has no images of {' '.join(sorted(SUFFIXES))}.\n"
                    "Add some or, if it is no class, move this folder away."
                )
            images[split] += zip(paths, repeat(target))
    return classes, images


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS writes names in the form NFD


def _find_split_folders(root: Path, reading: Reading) -> dict[str, Path]:
    """Return the folders of train and of other splits; none if ``root`` has class folders."""
    splits, names = split_folders(root), folders_in(root)
    # A folder of images is a class, even if it is named train.
    found = {split: path for split, path in splits.items() if folders_in(path)}
    if "train" in found and (len(found) > 1 or all(map(split_of, names))):
        return found
    if not found and 1 < len(splits) == len(names):
        names = [path.name for path in splits.values()]
        raise UsageError(
            f"{root} has the splits {', '.join(names)}, but no folders of classes in them.\n"
            # ~ if cookiecutter.scope == "complete"
            f"Put the images of each class into a folder: {names[0]}/cat/1.jpg; or name their "
            "labels in a table: data=csv"
            # ~ else
            f"Put the images of each class into a folder: {names[0]}/cat/1.jpg"
            # ~ endif
        )
    if found:
        raise UsageError(
            f"data.root={root} has the folders {', '.join(names)}: splits, or classes?\n"
            "Name the splits train, val and test. For class folders without splits, put the images "
            f"of {next(iter(found.values()))} into it directly."
        )
    if len(names) > 1:
        _refuse_splits_as_classes(root, names, reading)
    return {}


def _refuse_splits_as_classes(root: Path, names: list[str], reading: Reading) -> None:
    """Raise an error if the folders of ``root`` look like splits; note folders in class folders."""
    below = defaultdict[str, list[tuple[str, ...]]](list)  # the folders of images in each of them
    for folder in {path.rpartition(os.sep)[0] for path in reading.listed(root).images}:
        if parts := Path(folder).relative_to(root).parts:
            below[parts[0]].append(parts[1:])
    inner: dict[str, set[str]] = {}
    for name, folders in sorted(below.items()):
        several = sorted({part for parts in folders for part in parts if split_of(part)})
        if len({*map(split_of, several)}) > 1:
            raise UsageError(
                f"{root / name} holds the splits {', '.join(several)}, but would be a class.\n"
                f"To read them alone: data.root={root / name}; if {name} is a class, put it into "
                f"each split: {several[0]}/{name}"
            )
        # Folders that hold a single folder, as in train/train/cat, are passed over.
        levels = [{*level} - {""} for level in zip_longest(*folders, fillvalue="")]
        inner[name] = next(iter([level for level in levels if len(level) > 1] or levels), set())
    most: set[str] = max(inner.values(), key=len, default=set())
    alike = [name for name, part in inner.items() if len(part) > 1 and part <= most]
    named = [name for name, part in inner.items() if part and SPLIT_WORD.search(name)]
    # There may be folders of other images beside the splits.
    if 2 * max(len(alike), len(named)) >= max(len(names), 4):
        raise UsageError(
            f"{root} has the folders {', '.join(names)}, which hold the folders "
            f"{', '.join(sorted(most))}: they look like splits, not like classes.\nName the splits "
            "train, val and test, and put the class folders into them directly; if they are "
            "classes, put the images of each into its folder directly."
        )
    if len(most) > 1:
        reading.note(
            f"The classes are the folders of {root}, {', '.join(names[:MAX_NAMES])}, not those in "
            f"them, such as {', '.join(sorted(most)[:MAX_NAMES])}. Splits are named train, val and "
            "test."
        )


def _class_folders(folder: Path, *, alone: bool) -> list[str]:
    names = folders_in(folder)
    if len(names) < 2:
        remedy = "Put the images of each class into a folder of its own there."
        if names and len(folders_in(folder / names[0])) > 1:
            remedy = f"To read those in its only folder: data.root={folder / names[0]}"
            if not alone:
                remedy = (
                    f"Move the folders in {folder / names[0]} into {folder}, and those of the "
                    "other splits in the same way."
                )
        raise UsageError(f"{folder} needs two class folders, but has {len(names)}.\n{remedy}")
    for name in names:
        if (shown := name.encode(errors="backslashreplace").decode()) != name:
            raise UsageError(f"{folder}: rename {shown}, a name that is not UTF-8.")
    if whole := next((name for name in names if name.lower() in ALL_IMAGES), ""):
        raise UsageError(
            f"{folder / whole} would be a class, but by its name it holds all images.\n"
            f"If it has the class folders: data.root={folder / whole}; if it is a class, rename it."
        )
    if all(map(split_of, names)):
        raise UsageError(
            f"The class folders of {folder} would be {', '.join(names)}, which are splits.\n"
            f"To read these splits: data.root={folder}"
        )
    return names
