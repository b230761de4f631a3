"""Image data sets with a class label for each image."""

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data import batches
from ..data.batches import Sample, collated
from ..data.datamodule import Datasets
# ~ if cookiecutter.scope == "complete"
from ..data.images import ImageFiles, Unreadable, UnreadableImageError
# ~ else
from ..data.images import Unreadable, UnreadableImageError, read_image
# ~ endif
from ..data.reading_summary import Reading
from ..data.resize import Fit, choose_image_size
# ~ if cookiecutter.scope == "complete"
from ..data.sampler import image_weights
# ~ endif
from ..data.split import with_splits
# ~ if cookiecutter.scope == "complete"
from ..settings.classification import CsvSettings, DataSettings, has_several_labels
# ~ else
from ..settings.classification import DataSettings
# ~ endif
from ..settings.data import PixelFormat, ShapesSettings
from .class_folders import read_image_folders, write_shapes
# ~ if cookiecutter.scope == "complete"
from .csv_labels import read_csv
from .csv_table import image_folder
# ~ endif
from .transforms import Transform, train_transform

# ~ if cookiecutter.scope == "complete"
# The index of the class, or UNLABELLED; if images may have several labels, 0 or 1 for each class.
Target = int | list[int]
# ~ else
Target = int  # the index of the class, or UNLABELLED
# ~ endif
UNLABELLED = -1
Entry = Sample[Target] | Unreadable  # of a data set
# ~ if cookiecutter.scope == "complete"
Batch = batches.Batch[Tensor]  # targets: int64 [B], or [B, classes] if images have several labels


class Prediction(NamedTuple):
    """The predicted labels of an image."""

    labels: list[int]  # the most probable class, or all classes that reach the threshold
    confidences: list[float]  # the probability of each label, 0 to 1
    probabilities: list[float] | None = None  # of all classes, if images may have several labels
    ranking: Sequence[tuple[int, float]] = ()  # the most probable classes, if there is one label


# ~ else
Batch = batches.Batch[Tensor]  # targets: int64 [B]


class Prediction(NamedTuple):
    """The predicted label of an image."""

    label: int  # the most probable class
    confidence: float  # its probability, 0 to 1
    ranking: Sequence[tuple[int, float]] = ()  # the most probable classes and their probabilities


# ~ endif
class ImageDataset(Dataset[Entry]):
    """A data set of image files and their class indices."""

    def __init__(
        self, files: Sequence[tuple[str | Path, Any]], transform: Transform, pixels: PixelFormat
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(path) for path, _ in files])
        self.names = self.paths  # as pictures and reports show them
        self.targets = np.array([target for _, target in files])
        self.transform = transform
        # ~ if cookiecutter.scope == "complete"
        self.images = ImageFiles(self.paths, pixels)

        # ~ else
        self.pixels = pixels

        # ~ endif
    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Entry:
        try:
            # ~ if cookiecutter.scope == "complete"
            (image,), _ = self.images[index]
            # ~ else
            image = read_image(self.paths[index], self.pixels)
            # ~ endif
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        return Sample(self.transform(image), self.targets[index].tolist(), index)

    def counted_labels(self, index: int) -> list[int]:
        """Return the classes of an image, as ``Reading`` counts them."""
        return {{ "target_labels(self.targets[index].tolist())" if cookiecutter.scope == "complete" else "[int(self.targets[index])]" }}


# ~ if cookiecutter.scope == "complete"
def target_labels(target: Target | np.ndarray) -> list[int]:
    """Return the classes of a target in ascending order; none for ``UNLABELLED``."""
    if isinstance(target, int):
        return [] if target == UNLABELLED else [target]
    return [label for label, value in enumerate(target) if value]


# ~ endif
def collate(samples: list[Entry]) -> Batch:
    """Make a batch of the samples of readable images, and list the unreadable files."""
    return collated(samples, lambda targets: torch.tensor(targets, dtype=torch.int64))


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits."""
    # ~ if cookiecutter.scope == "complete"
    several = has_several_labels(settings)
    reading = Reading(counted="labels" if several else "images")
    # ~ else
    reading = Reading(counted="images")
    # ~ endif
    root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
    reason = "in no class folder of a split"
    # ~ if cookiecutter.scope == "complete"
    if isinstance(settings, CsvSettings):
        classes, found = read_csv(settings, reading)
        root, reason = image_folder(root, found), "without a label in the CSV file"
    else:
        classes, found = read_image_folders(root, reading)
    # ~ else
    classes, found = read_image_folders(root, reading)
    # ~ endif
    names = [[name] for name in classes]
    images = with_splits(
        found,
        settings,
        reading,
        path=itemgetter(0),
        # ~ if cookiecutter.scope == "complete"
        labels=lambda file: (
            [classes[label] for label in target_labels(file[1])] if several else names[file[1]]
        ),
        # ~ else
        labels=lambda file: names[file[1]],
        # ~ endif
    )
    for split, files in images.items():
        labels = [target for _, target in files]
        # ~ if cookiecutter.scope == "complete"
        if several:
            labels = [label for target in labels for label in target_labels(target)]
        # ~ endif
        reading.count(split, images=len(files), labels=labels, classes=classes)
    used = map(itemgetter(0), chain.from_iterable(found.values()))
    reading.add_unused_images(root, used, reason)
    settings = choose_image_size(settings, len(images["train"]))
    evaluation, pixels = Fit(settings), settings.pixels
    return Datasets(
        train=ImageDataset(images["train"], train_transform(settings), pixels),
        val=ImageDataset(images["val"], evaluation, pixels),
        test=ImageDataset(images["test"], evaluation, pixels),
        classes=classes,
        collate=collate,
        reading=reading,
        settings=settings,
        # ~ if cookiecutter.scope == "complete"
        weights=image_weights(
            (target_labels(target) for _, target in images["train"]), settings.balance
        ),
        # ~ endif
    )


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> ImageDataset:
    """Build a data set of images without targets, transformed as in validation."""
    files = [(path, UNLABELLED) for path in paths]
    return ImageDataset(files, Fit(settings), settings.pixels)
