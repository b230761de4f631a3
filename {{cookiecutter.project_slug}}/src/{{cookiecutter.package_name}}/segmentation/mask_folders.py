"""Find images and their mask files in folders, and write the generated images."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch

from ..data.files import SUFFIXES, ListedFiles, folders_in, split_folders, split_lists
from ..data.reading_summary import Reading
from ..data.shapes import CLASSES, Images, draw_shapes, write_once
from ..data.text_files import read_lines
from ..errors import UsageError
from ..settings.data import ShapesSettings
from .predicted_masks import mask_image

MASKS = ("masks", "labels", "annotations")  # the first of these folders that exists is used
# The folders of images and of masks, by several conventions.
FOLDERS = (
    *(("images", MASKS), ("img_dir", ("ann_dir",)), ("JPEGImages", ("SegmentationClass",))),
    ("leftImg8bit", ("gtFine",)),
)
CITYSCAPES = "_leftImg8bit"  # ends the names of images, but not those of their masks
BESIDE = "_mask"  # ends the names of masks in the folder of the images
LAYOUTS = """One of these layouts is read, with the same for val and, optionally, for test:
  images/train/a.jpg with masks/train/a.png
  train/images/a.jpg with train/masks/a.png
  train/a.jpg with train/a_mask.png
  img_dir/train/a.jpg with ann_dir/train/a.png
  leftImg8bit/train/a.png with gtFine/train/a.png
  JPEGImages/a.jpg with SegmentationClass/a.png and ImageSets/Segmentation/train.txt
Or images/a.jpg with masks/a.png, which are then split."""

SHAPES_VERSION = 1  # increase it when the same settings draw different images
MAX_SHAPES = 3  # maximum number of shapes in an image
NAMES = ("background", *CLASSES)
Pair = tuple[str, str]  # the paths of an image and of its mask
# The folders of images and of masks, which may be the same, and a text file that lists the images.
Place = tuple[Path, Path, Path | None]


def write_shapes(settings: ShapesSettings) -> Path:
    """Draw the generated data set, unless it exists, and return its folder."""

    def write(folder: Path, images: Images) -> None:
        for split, index, rng in images:
            image, shapes = draw_shapes(rng, settings.input_size, MAX_SHAPES)
            ids = np.zeros(settings.input_size, dtype=np.uint8)
            for kind, pixels in shapes:
                ids[pixels] = NAMES.index(kind)
            mask = mask_image(torch.from_numpy(ids))
            for name, picture in (("images", image), ("masks", mask)):
                path = folder / name / split / f"{index:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
        (folder / "classes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")

    recipe = ["masks", SHAPES_VERSION, settings.image_size]
    return write_once(settings.root, settings.counts, recipe, write)


def find_pairs(root: Path, reading: Reading) -> dict[str, list[Pair]]:
    """Return the images and their masks by split, matched by file name.

    Without splits, all images are those of train. Images with the same mask are noted.
    """
    places = _find_places(root)
    if "train" not in places:
        raise UsageError(f"data.root={root} has no images for train.\n{LAYOUTS}")
    listed = reading.listed(root)
    if "test" in places and not _list(places["test"], listed)[1]:
        folder = places["test"][1]
        reading.note(f"No image of test has a mask in {folder}, so test is not used.")
        del places["test"]
    return {split: _match(place, listed, reading) for split, place in places.items()}


def _find_places(root: Path) -> dict[str, Place]:
    """Return the folders of images and of masks by split."""
    below = split_folders(root)
    for name, names in FOLDERS[: 1 if "train" in below else None]:
        images, masks = _folder(root, name), _folder(root, *names)
        # An empty folder may be left beside train/images.
        if images.is_dir() and ("train" not in below or any(images.iterdir())):
            if name != "images" and (lists := split_lists(root / "ImageSets" / "Segmentation")):
                return {split: (images, masks, path) for split, path in lists.items()}
            splits = split_folders(images)
            if not splits or not masks.is_dir():
                return {"train": (images, masks, None)}
            of_masks = split_folders(masks)
            return {
                split: (path, of_masks.get(split, masks / split), None)
                for split, path in splits.items()
            }
    places: dict[str, Place] = {}
    for split, path in (below or {"train": root}).items():
        images, masks = _folder(path, "images"), _folder(path, *MASKS)
        beside = not images.is_dir() and not masks.is_dir()
        places[split] = (path, path, None) if beside else (images, masks, None)
    return places


def _folder(parent: Path, *names: str) -> Path:
    """Return the first folder of these names, in any case of letters, whether it exists or not."""
    present = {name.lower(): name for name in folders_in(parent)}
    found = (present[name.lower()] for name in names if name.lower() in present)
    return parent / next(found, names[0])


def _list(place: Place, listed: ListedFiles) -> tuple[list[str], list[str]]:
    """Return the paths of the images and of the masks."""
    images, masks, file = place
    paths, files = (listed.images_in(path) if path.is_dir() else [] for path in (images, masks))
    if images == masks:
        files = [path for path in paths if path.rpartition(".")[0].endswith(BESIDE)]
        paths = sorted({*paths} - {*files}, key=lambda path: path.split(os.sep))  # noqa: PTH206
    if file is not None:
        stems = {*_relative_stems(images, paths)}
        names = {_listed_name(line, stems) for line in read_lines(file)}
        if absent := names - stems:
            raise UsageError(
                f"{file} names {min(absent)}, but {images} has no such image; such names: "
                f"{len(absent)}.\nAdd the images, or remove the names."
            )
        paths, files = (
            [p for p, name in zip(part, _relative_stems(at, part), strict=True) if name in names]
            for at, part in ((images, paths), (masks, files))
        )
    return paths, files


def _match(place: Place, listed: ListedFiles, reading: Reading) -> list[Pair]:
    images, masks, _ = place
    paths, files = _list(place, listed)
    for folder in (images, masks):
        if not folder.is_dir():
            raise UsageError(f"{folder} is missing.\n{LAYOUTS}")
    if not paths:
        raise UsageError(
            f"{images} has no images of {' '.join(sorted(SUFFIXES))}.\n"
            "Add some, or convert other files to one of these formats."
        )
    if images == masks and not files:
        raise UsageError(f"{images} has no masks.\n{LAYOUTS}")
    # ~ if cookiecutter.scope == "complete"
    array = next((path for path in files if path[-4:].lower() == ".npy"), None)
    if array is not None:
        raise UsageError(f"{array} is not an image file.\nSave masks as PNG.")
    # ~ endif
    masks_by_name = dict(zip(_relative_stems(masks, files), files, strict=True))
    if len(masks_by_name) < len(files):
        first = min({*files} - {*masks_by_name.values()})
        path = masks_by_name[_relative_stems(masks, [first])[0]]
        raise UsageError(f"{first} and {path} may both be the mask of an image.\nKeep one.")
    names = _relative_stems(images, paths)
    if images == masks:
        end = BESIDE
    else:
        names = [name.removesuffix(CITYSCAPES) for name in names]
        end = _common_end(names, masks_by_name)
    unmatched = [index for index, name in enumerate(names) if f"{name}{end}" not in masks_by_name]
    if unmatched:
        raise UsageError(
            f"{paths[unmatched[0]]} has no mask in {masks}; such images: {len(unmatched)}.\n"
            f"Add or rename masks, here {names[unmatched[0]]}{end}.png, or move the images away."
        )
    matching = [masks_by_name[f"{name}{end}"] for name in names]
    if len({*names}) < len(names):
        reading.note_shared(zip(matching, paths, strict=True))
    return [*zip(paths, matching, strict=True)]


def _listed_name(line: str, known: Collection[str]) -> str:
    """Return the name of an image that a list has with or without its suffix."""
    name = unicodedata.normalize("NFC", line)
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a string
    return stem if name not in known and suffix.lower() in SUFFIXES else name


def _common_end(names: Sequence[str], masks: Collection[str]) -> str:
    """Return what follows the names of most images in the names of their masks, as ``_mask``."""
    known, ends = {*names}, Counter[str]()
    if not known.isdisjoint(masks):
        return ""
    for mask in masks:
        places = (match.start() for match in re.finditer("[_.-]", mask))
        ends.update(mask[place:] for place in places if mask[:place] in known)
    if not ends:
        return ""
    count = max(ends.values())
    fitting = [end for end in ends if ends[end] == count]
    # Of Cityscapes' masks, those of the classes that are trained on.
    fitting = [end for end in fitting if end.endswith("_labelTrainIds")] or fitting
    if len(fitting) > 1 and count == len(names):
        raise UsageError(
            f"{names[0]} and all other images have several masks each, which end in "
            f"{', '.join(sorted(fitting))}.\nKeep those to use, and move the others away."
        )
    return fitting[0] if len(fitting) == 1 else ""


def _relative_stems(folder: Path, paths: Sequence[str]) -> list[str]:
    prefix = f"{folder}{os.sep}"
    start = paths[0].index(prefix) + len(prefix) if paths else 0  # a path may begin with ./
    names = [path[start : path.rfind(".")] for path in paths]
    # macOS writes names in the form NFD.
    return [name if name.isascii() else unicodedata.normalize("NFC", name) for name in names]
