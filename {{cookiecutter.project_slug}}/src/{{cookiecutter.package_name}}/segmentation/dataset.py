"""Image data sets with a mask for each image."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.coco import read_coco
from ..data.datamodule import Datasets
from ..data.files import images_below
from ..data.fit import Fit
from ..data.images import (
    DecodedImage,
    ImageFiles,
    Unreadable,
    UnreadableImageError,
    read_image,
)
from ..data.reading import Reading
from ..errors import UsageError
from ..settings.data import ShapesSettings
from ..settings.segmentation import DataSettings
from .coco import CocoMasks
from .masks import Classes, read_classes, read_mask
from .transforms import PairTransform, eval_transform, train_transform
from .write_shapes import write_shapes

SPLITS = ("train", "val", "test")
UNLABELLED = None


class Sample(NamedTuple):
    """A transformed image of a data set and its target."""

    image: Tensor  # uint8 [3, H, W]
    target: Tensor | None  # uint8 [H, W] of class ids and IGNORE_INDEX, or UNLABELLED
    position: int  # index in the data set


class Batch(NamedTuple):
    """The readable images of a batch with their targets, and the unreadable files."""

    images: Tensor  # uint8 [B, 3, H, W]
    targets: Tensor  # int64 [B, H, W]
    positions: Tensor  # int64 [B]
    unreadable: list[Unreadable]


class MaskFiles:
    """Read the mask of an image from an image file."""

    def __init__(self, paths: Sequence[str], classes: Classes) -> None:
        self.paths = np.array(paths)
        self.classes = classes

    def __call__(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return the mask of an image of this height and width, a uint8 tensor [H, W]."""
        return read_mask(*self.record(index), size)

    def record(self, index: int) -> tuple[str, Classes]:
        """Return the path of a mask, and the names and colours of the classes."""
        return str(self.paths[index]), self.classes


class ImageAndMaskFiles:
    """A sequence of decoded images, each with its mask."""

    def __init__(self, paths: np.ndarray, masks: MaskFiles | CocoMasks, max_pixels: int) -> None:
        self.paths = paths
        self.max_pixels = max_pixels
        self.masks = masks

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> DecodedImage:
        image = read_image(str(self.paths[index]), self.max_pixels)
        size = (image.shape[1], image.shape[2])
        return DecodedImage((image, self.masks(index, size)[None]), size)


class MaskDataset(Dataset[Sample | Unreadable]):
    """A data set of image files and their masks."""

    def __init__(
        self,
        images: Sequence[str | Path],
        masks: MaskFiles | CocoMasks | None,
        transform: PairTransform,
        max_pixels: int,
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(path) for path in images])
        self.masks = masks
        self.transform = transform
        self.images: ImageFiles | ImageAndMaskFiles = (
            ImageFiles(self.paths, max_pixels)
            if masks is None
            else ImageAndMaskFiles(self.paths, masks, max_pixels)
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        try:
            (image, *masks), _ = self.images[index]
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        return Sample(*self.transform(image, masks[0][0] if masks else None), index)


def collate(samples: list[Sample | Unreadable]) -> Batch:
    """Stack the readable samples into a batch, and list the unreadable files."""
    readable = [sample for sample in samples if isinstance(sample, Sample)]
    targets = [sample.target.long() for sample in readable if sample.target is not None]
    return Batch(
        torch.stack([sample.image for sample in readable]) if readable else torch.empty(0),
        torch.stack(targets) if targets else torch.empty(0),
        torch.tensor([sample.position for sample in readable]),
        [sample for sample in samples if isinstance(sample, Unreadable)],
    )


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits.

    Raises:
        UsageError: if a folder, a file or an annotation is missing or invalid.
    """
    reading = Reading()
    root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
    if settings.name == "coco":
        names, splits = _read_outlines(settings, reading)
    else:
        names, splits = _read_mask_files(root, reading)
    evaluation, limit = eval_transform(settings), settings.max_pixels
    return Datasets(
        train=MaskDataset(*splits["train"], train_transform(settings), limit),
        val=MaskDataset(*splits["val"], evaluation, limit),
        test=MaskDataset(*splits["test"], evaluation, limit),
        classes=names,
        collate=collate,
        reading=reading,
    )


ClassesAndSplits = tuple[list[str], dict[str, tuple[Sequence[str | Path], MaskFiles | CocoMasks]]]


def _read_outlines(settings: DataSettings, reading: Reading) -> ClassesAndSplits:
    names, splits = read_coco(
        settings.root,
        reading,
        missing_images=settings.skip_unreadable,
        outside=settings.outside_root,
    )
    for split, images in splits.items():
        objects = [item for image in images for item in image.objects]
        labels = [item.label for item in objects if not item.crowd]
        reading.count(split, images=len(images), labels=labels, classes=names)
    used = (image.path for images in splits.values() for image in images)
    reading.add_unused_images(settings.root, used, "not among the annotated images")
    return ["background", *names], {
        split: ([image.path for image in images], CocoMasks(images))
        for split, images in splits.items()
    }


def _read_mask_files(root: Path, reading: Reading) -> ClassesAndSplits:
    if not root.is_dir():
        raise UsageError(
            f"data.root={root}: there is no such folder.\nName the folder that holds the data."
        )
    classes = read_classes(root / "classes.txt")
    pairs = {split: find_pairs(root, split) for split in SPLITS}
    for split, (images, _) in pairs.items():
        reading.images[split] = len(images)
    used = (path for files in pairs.values() for paths in files for path in paths)
    reading.add_unused_images(root, used, "without a mask, or a mask without an image")
    return classes.names, {
        split: (images, MaskFiles(masks, classes)) for split, (images, masks) in pairs.items()
    }


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> MaskDataset:
    """Build a data set of images without targets, transformed as in validation."""
    return MaskDataset(paths, None, eval_transform(settings), settings.max_pixels)


def model_input(image: Tensor, settings: DataSettings) -> Tensor:
    """Transform an image as in validation, from uint8 [3, H, W] to the size of the model input."""
    fitted: Tensor = Fit(settings)(image)
    return fitted


def find_pairs(root: Path, split: str) -> tuple[list[str], list[str]]:
    """Return the paths of the images and of the masks of a split, matched by file name.

    Raises:
        UsageError: if a folder or a mask is missing.
    """
    folders = root / "images" / split, root / "masks" / split
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is missing.\nImages go to images/{split}, masks to masks/{split}."
            )
    images = images_below(folders[0])
    if not images:
        raise UsageError(f"{folders[0]} has no images.")
    names = [_relative_stem(folders[0], path) for path in images]
    masks = {_relative_stem(folders[1], path): path for path in images_below(folders[1])}
    unmatched = [path for name, path in zip(names, images, strict=True) if name not in masks]
    if unmatched:
        raise UsageError(
            f"{unmatched[0]} has no mask in {folders[1]} ({len(unmatched)} such images)."
        )
    return images, [masks[name] for name in names]


def _relative_stem(folder: Path, path: str) -> str:
    return path.removeprefix(f"{folder}{os.sep}").rpartition(".")[0]
