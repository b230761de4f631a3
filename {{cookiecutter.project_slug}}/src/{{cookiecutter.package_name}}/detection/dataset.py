"""Image data sets with bounding boxes of the objects in each image."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.coco import read_coco
from ..data.datamodule import Datasets
from ..data.images import ImageFiles, Unreadable, UnreadableImageError
from ..settings.data import ShapesSettings
from ..settings.detection import DataSettings
from .boxes import AnnotatedImage, Target, annotated_image, build_target, from_coco
from .transforms import PairTransform, eval_transform, train_transform
from .write_shapes import write_shapes
from .yolo import read_yolo

SPLITS = ("train", "val", "test")
UNLABELLED = None


class Sample(NamedTuple):
    """A transformed image of a data set and its target."""

    image: Tensor  # uint8 [3, S, S]
    target: Target | None  # the annotated objects, or UNLABELLED
    position: int  # index in the data set


class Batch(NamedTuple):
    """The readable images of a batch with their targets, and the unreadable files."""

    images: Tensor  # uint8 [B, 3, S, S]
    targets: list[Target]
    positions: Tensor  # int64 [B]
    unreadable: list[Unreadable]


class BoxDataset(Dataset[Sample | Unreadable]):
    """A data set of image files and their annotated objects."""

    def __init__(
        self,
        records: Sequence[AnnotatedImage],
        transform: PairTransform,
        *,
        known: bool = True,
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(record.path) for record in records])
        self.sizes = np.array([record.size for record in records])
        self.ends = np.cumsum([len(record.boxes) for record in records])
        self.boxes = np.concatenate([record.boxes for record in records])
        self.labels = np.concatenate([record.labels for record in records])
        self.crowd = np.concatenate([record.crowd for record in records])
        self.areas = np.concatenate([record.areas for record in records])
        self.faults = {
            index: record.faults for index, record in enumerate(records) if record.faults
        }
        self.transform = transform
        self.known = known
        self.images = ImageFiles(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        record = self.record(index)
        try:
            (image,), (height, width) = self.images[index]
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        if any(record.size) and record.size != (height, width):
            annotated = f"{record.size[1]} x {record.size[0]}"
            reason = f"it is {width} x {height} pixels, but its annotations say {annotated}"
            return Unreadable(str(record.path), reason)
        target = build_target(record, (height, width)) if self.known else UNLABELLED
        return Sample(*self.transform(image, target), index)

    def record(self, index: int) -> AnnotatedImage:
        """Return the annotations of an image."""
        end = int(self.ends[index])
        own = slice(int(self.ends[index - 1]) if index else 0, end)
        height, width = self.sizes[index].tolist()
        return AnnotatedImage(
            Path(str(self.paths[index])),
            self.boxes[own],
            self.labels[own],
            self.crowd[own],
            self.areas[own],
            (height, width),
        )


def collate(samples: list[Sample | Unreadable]) -> Batch:
    """Stack the readable samples into a batch, and list the unreadable files."""
    readable = [sample for sample in samples if isinstance(sample, Sample)]
    return Batch(
        torch.stack([sample.image for sample in readable]) if readable else torch.empty(0),
        [sample.target for sample in readable if sample.target is not None],
        torch.tensor([sample.position for sample in readable]),
        [sample for sample in samples if isinstance(sample, Unreadable)],
    )


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits.

    Raises:
        UsageError: if a file or an annotation is missing or invalid.
    """
    if settings.name == "yolo":
        classes, splits = read_yolo(settings.root)
    else:
        root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
        classes, images = read_coco(root, missing_images=settings.skip_unreadable)
        splits = {split: from_coco(images[split]) for split in SPLITS}
    evaluation = eval_transform(settings.image_size)
    transforms = (train_transform(settings), evaluation, evaluation)
    train, val, test = (
        BoxDataset(splits[split], transform)
        for split, transform in zip(SPLITS, transforms, strict=True)
    )
    return Datasets(train=train, val=val, test=test, classes=classes, collate=collate)


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> BoxDataset:
    """Build a data set of images without targets, transformed as in validation."""
    records = [annotated_image(path, [], (0, 0)) for path in paths]
    return BoxDataset(records, eval_transform(settings.image_size), known=False)


def model_input(image: Tensor, settings: DataSettings) -> Tensor:
    """Transform an image as in validation, from uint8 [3, H, W] to uint8 [3, S, S]."""
    return eval_transform(settings.image_size)(image, None)[0]
