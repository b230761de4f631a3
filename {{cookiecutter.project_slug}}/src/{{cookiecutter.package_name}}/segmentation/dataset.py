"""Find images with their masks on disk and read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.datamodule import Datasets
from ..data.images import SUFFIXES, Unreadable, UnreadableImageError, read_image
from ..errors import UsageError
from .masks import Classes, read_classes, read_mask
from .settings import DataSettings, ShapesSettings
from .shapes import write_shapes
from .transforms import PairTransform, eval_transform, train_transform

SPLITS = ("train", "val", "test")
UNLABELLED = None


class Sample(NamedTuple):
    """One image."""

    image: Tensor  # uint8 [3, S, S]
    target: Tensor | None  # uint8 [S, S] of class ids and IGNORE_INDEX, or UNLABELLED
    position: int  # in the data set


class Batch(NamedTuple):
    """Several images."""

    images: Tensor  # uint8 [B, 3, S, S]
    targets: Tensor  # int64 [B, S, S]
    positions: Tensor  # int64 [B]
    unreadable: list[Unreadable]  # what is missing


class MaskDataset(Dataset[Sample | Unreadable]):
    """Image files with a mask file each."""

    def __init__(
        self,
        images: Sequence[Path],
        masks: Sequence[Path],
        classes: Classes,
        transform: PairTransform,
    ) -> None:
        # Arrays, not lists of objects: worker processes then share their memory.
        self.paths = np.array([str(path) for path in images])
        self.masks = np.array([str(path) for path in masks])
        self.classes = classes
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        try:
            image = read_image(str(self.paths[index]))
            mask = self._mask(index, image) if len(self.masks) else None
        except UnreadableImageError as error:
            return error.unreadable  # the main process decides what to do
        return Sample(*self.transform(image, mask), index)

    def _mask(self, index: int, image: Tensor) -> Tensor:
        path = str(self.masks[index])
        mask = read_mask(path, self.classes)
        if mask.shape != image.shape[1:]:
            height, width = mask.shape
            raise UnreadableImageError(
                path,
                f"it is {width} x {height} pixels, but its image {self.paths[index]} is "
                f"{image.shape[2]} x {image.shape[1]}",
            )
        return mask


def collate(samples: list[Sample | Unreadable]) -> Batch:
    """Stack what could be read; list the rest."""
    read = [sample for sample in samples if isinstance(sample, Sample)]
    targets = [sample.target.long() for sample in read if sample.target is not None]
    return Batch(
        torch.stack([sample.image for sample in read]) if read else torch.empty(0),
        torch.stack(targets) if targets else torch.empty(0),
        torch.tensor([sample.position for sample in read]),
        [sample for sample in samples if isinstance(sample, Unreadable)],
    )


def build_datasets(settings: DataSettings) -> Datasets:
    """Find the images and masks of the three splits.

    Raises:
        UsageError: if the folders are not as they should be; the message names the file.
    """
    root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
    if not root.is_dir():
        raise UsageError(
            f"data.root={root}: there is no such folder.\nName the folder that holds the data."
        )
    classes = read_classes(root / "classes.txt")
    unchanging = eval_transform(settings.image_size)
    transforms = (train_transform(settings), unchanging, unchanging)
    train, val, test = (
        MaskDataset(*find_pairs(root, split), classes, transform)
        for split, transform in zip(SPLITS, transforms, strict=True)
    )
    return Datasets(train=train, val=val, test=test, classes=classes.names, collate=collate)


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> MaskDataset:
    """Images to predict: seen as in validation, without a target."""
    return MaskDataset(paths, [], Classes([], {}), eval_transform(settings.image_size))


def find_pairs(root: Path, split: str) -> tuple[list[Path], list[Path]]:
    """The images of a split and their masks, by the same names.

    Raises:
        UsageError: naming the folder or the file that is missing.
    """
    folders = root / "images" / split, root / "masks" / split
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is missing.\nImages go to images/{split}, masks to masks/{split}."
            )
    masks = {path.stem: path for path in folders[1].iterdir() if path.suffix.lower() in SUFFIXES}
    images = sorted(path for path in folders[0].iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise UsageError(f"{folders[0]} has no image in it.")
    lonely = [path for path in images if path.stem not in masks]
    if lonely:
        raise UsageError(f"{lonely[0]} has no mask in {folders[1]} ({len(lonely)} such images).")
    return images, [masks[path.stem] for path in images]
