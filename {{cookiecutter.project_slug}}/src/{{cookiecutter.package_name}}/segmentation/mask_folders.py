"""Find images and their mask files in folders, and write the generated images."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..data.files import ListedFiles, folders_in, split_folders
from ..data.reading_summary import Reading
from ..data.shapes import CLASSES, Images, draw_shapes, write_once
from ..errors import UsageError
from ..settings.data import ShapesSettings
from .predicted_masks import mask_image

MASKS = ("masks", "labels", "annotations")  # the first of these folders that exists is used
LAYOUTS = """One of these layouts is read, with the same for val and, optionally, for test:
  images/train/a.jpg with masks/train/a.png
  train/images/a.jpg with train/masks/a.png
Or images/a.jpg with masks/a.png, which are then split."""

SHAPES_VERSION = 1  # increase it when the same settings draw different images
MAX_SHAPES = 3  # maximum number of shapes in an image
NAMES = ("background", *CLASSES)
Pair = tuple[str, str]  # the paths of an image and of its mask


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
    folders = _find_folders(root)
    if "train" not in folders:
        raise UsageError(f"data.root={root} has no images for train.\n{LAYOUTS}")
    listed = reading.listed(root)
    masks = folders.get("test", folders["train"])[1]
    if "test" in folders and not (masks.is_dir() and listed.images_in(masks)):
        reading.note(f"There are no masks in {masks}, so test is not used.")
        del folders["test"]
    return {split: _match(*folders[split], listed, reading) for split in folders}


def _find_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of images and of masks by split."""
    images, masks = _folder(root, "images"), _folder(root, *MASKS)
    if not images.is_dir():
        return {
            split: (_folder(path, "images"), _folder(path, *MASKS))
            for split, path in split_folders(root).items()
        }
    splits = split_folders(images)
    if not splits or not masks.is_dir():
        return {"train": (images, masks)}
    of_masks = split_folders(masks)
    return {split: (path, of_masks.get(split, masks / split)) for split, path in splits.items()}


def _folder(parent: Path, *names: str) -> Path:
    """Return the first folder of these names, in any case of letters, whether it exists or not."""
    present = {name.lower(): name for name in folders_in(parent)}
    return parent / next((present[name] for name in names if name in present), names[0])


def _match(images: Path, masks: Path, listed: ListedFiles, reading: Reading) -> list[Pair]:
    for folder in (images, masks):
        if not folder.is_dir():
            raise UsageError(f"{folder} is missing.\n{LAYOUTS}")
    paths = listed.images_in(images)
    if not paths:
        raise UsageError(f"{images} has no images.")
    files = listed.images_in(masks)
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
    unmatched = [index for index, name in enumerate(names) if name not in masks_by_name]
    if unmatched:
        raise UsageError(
            f"{paths[unmatched[0]]} has no mask in {masks}; such images: {len(unmatched)}.\n"
            f"Add or rename masks, here {names[unmatched[0]]}.png, or move the images away."
        )
    matching = [masks_by_name[name] for name in names]
    if len({*names}) < len(names):
        reading.note_shared(zip(matching, paths, strict=True))
    return [*zip(paths, matching, strict=True)]


def _relative_stems(folder: Path, paths: Sequence[str]) -> list[str]:
    prefix = f"{folder}{os.sep}"
    start = paths[0].index(prefix) + len(prefix) if paths else 0  # a path may begin with ./
    names = [path[start : path.rfind(".")] for path in paths]
    # macOS writes names in the form NFD.
    return [name if name.isascii() else unicodedata.normalize("NFC", name) for name in names]
