"""Image data sets with a class label for each image."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

# ~ if cookiecutter.scope == "complete"
from ..data.balance import image_weights
# ~ endif
from ..data.check_datasets import MAX_NAMES
from ..data.datamodule import Datasets
from ..data.files import SUFFIXES, ListedFiles, folders_in, split_folders, split_of
from ..data.images import ImageFiles, Unreadable, UnreadableImageError
from ..data.reading_summary import Reading
from ..data.resize import Fit
from ..data.split import with_splits
from ..errors import UsageError
# ~ if cookiecutter.scope == "complete"
from ..settings.classification import CsvSettings, DataSettings, has_several_labels
# ~ else
from ..settings.classification import DataSettings
# ~ endif
from ..settings.data import PixelFormat, ShapesSettings
# ~ if cookiecutter.scope == "complete"
from .csv_labels import image_folder, read_csv
# ~ endif
from .transforms import Transform, train_transform
from .write_shapes import write_shapes

# ~ if cookiecutter.scope == "complete"
# The index of the class, or UNLABELLED; if images may have several labels, 0 or 1 for each class.
Target = int | list[int]
# ~ else
Target = int  # the index of the class, or UNLABELLED
# ~ endif
UNLABELLED = -1


class Sample(NamedTuple):
    """A transformed image of a data set and its target."""

    image: Tensor  # uint8 [C, H, W]
    target: Target
    position: int  # index in the data set


class Batch(NamedTuple):
    """The readable images of a batch with their targets, and the unreadable files."""

    images: Tensor  # uint8 [B, C, H, W]
    # ~ if cookiecutter.scope == "complete"
    targets: Tensor  # int64 [B], or [B, classes] if images may have several labels
    # ~ else
    targets: Tensor  # int64 [B]
    # ~ endif
    positions: Tensor  # int64 [B]
    unreadable: list[Unreadable]


# ~ if cookiecutter.scope == "complete"
class Prediction(NamedTuple):
    """The predicted labels of an image."""

    labels: list[int]  # the most probable class, or all classes that reach the threshold
    confidences: list[float]  # the probability of each label, 0 to 1
    probabilities: list[float] | None = None  # of all classes, if images may have several labels
    ranking: Sequence[tuple[int, float]] = ()  # the most probable classes, if there is one label


# ~ else
class Prediction(NamedTuple):
    """The predicted label of an image."""

    label: int  # the most probable class
    confidence: float  # its probability, 0 to 1
    ranking: Sequence[tuple[int, float]] = ()  # the most probable classes and their probabilities


# ~ endif
class ImageDataset(Dataset[Sample | Unreadable]):
    """A data set of image files and their class indices."""

    def __init__(
        self, files: Sequence[tuple[str | Path, Any]], transform: Transform, pixels: PixelFormat
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(path) for path, _ in files])
        self.names = self.paths  # as pictures and reports show them
        self.targets = np.array([target for _, target in files])
        self.transform = transform
        self.images = ImageFiles(self.paths, pixels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample | Unreadable:
        try:
            (image,), _ = self.images[index]
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        return Sample(self.transform(image), self.targets[index].tolist(), index)


# ~ if cookiecutter.scope == "complete"
def target_labels(target: Target | np.ndarray) -> list[int]:
    """Return the classes of a target in ascending order; none for ``UNLABELLED``."""
    if isinstance(target, int):
        return [] if target == UNLABELLED else [target]
    return [label for label, value in enumerate(target) if value]


# ~ endif
def collate(samples: list[Sample | Unreadable]) -> Batch:
    """Stack the readable samples into a batch, and list the unreadable files."""
    readable = [sample for sample in samples if isinstance(sample, Sample)]
    return Batch(
        torch.stack([sample.image for sample in readable]) if readable else torch.empty(0),
        torch.tensor([sample.target for sample in readable], dtype=torch.int64),
        torch.tensor([sample.position for sample in readable], dtype=torch.int64),
        [sample for sample in samples if isinstance(sample, Unreadable)],
    )


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits.

    Raises:
        UsageError: if a folder is missing or empty, or the splits have different classes.
    """
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
        path=lambda file: file[0],
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
    used = (path for files in found.values() for path, _ in files)
    reading.add_unused_images(root, used, reason)
    evaluation, pixels = Fit(settings), settings.pixels
    return Datasets(
        train=ImageDataset(images["train"], train_transform(settings), pixels),
        val=ImageDataset(images["val"], evaluation, pixels),
        test=ImageDataset(images["test"], evaluation, pixels),
        classes=classes,
        collate=collate,
        reading=reading,
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


def model_input(image: Tensor, settings: DataSettings) -> Tensor:
    """Transform an image as in validation, from uint8 [C, H, W] to the size of the model input."""
    fitted: Tensor = Fit(settings)(image)
    return fitted


ClassesAndSplits = tuple[list[str], dict[str, list[tuple[str, Any]]]]


def read_image_folders(root: Path, reading: Reading) -> ClassesAndSplits:
    """List the images of the folders of the splits, or of class folders without splits.

    Returns:
        The class names, and the path and the class index of each image by split; without splits,
        all images are those of train.

    Raises:
        UsageError: if a folder is missing or empty, or train lacks a class of another split.
    """
    folders = _find_split_folders(root, reading) or {"train": root}
    return _scan_splits(folders, reading.listed(root))


def _find_split_folders(root: Path, reading: Reading) -> dict[str, Path]:
    """Return the folders of train and of other splits; none if ``root`` has class folders."""
    # A folder of images is a class, even if it is named train.
    found = {split: path for split, path in split_folders(root).items() if folders_in(path)}
    names = folders_in(root)
    if "train" in found and (len(found) > 1 or all(map(split_of, names))):
        return found
    splits = [path.name for path in split_folders(root).values()]
    if len(splits) > 1 and sorted(splits) == names and not found:
        raise UsageError(
            f"{root} has the splits {', '.join(splits)}, but no folders of classes in them.\n"
            # ~ if cookiecutter.scope == "complete"
            f"Put the images of each class into a folder: {splits[0]}/cat/1.jpg; or name their "
            "labels in a table: data=csv"
            # ~ else
            f"Put the images of each class into a folder: {splits[0]}/cat/1.jpg"
            # ~ endif
        )
    if found:
        raise UsageError(
            f"data.root={root} has the folders {', '.join(names)}, so it is not clear whether they "
            "are splits or classes.\nName the splits train, val and test. For class folders "
            f"without splits, put the images of {next(iter(found.values()))} into it directly."
        )
    depth = str(root).count(os.sep) + 2  # of the images in class folders
    if any(path.count(os.sep) == depth for path in reading.listed(root).images):
        return {}
    inner = [folders_in(root / name) for name in names]
    most = max(inner, key=len, default=[])
    same = len(names) > 1 and all(len(part) > 1 and {*part} <= {*most} for part in inner)
    if same or (len(names) > 1 and all(inner) and all(map(_has_split_word, names))):
        raise UsageError(
            f"{root} has the folders {', '.join(names)}, which all hold folders of the same "
            f"names, {', '.join(most)}: they look like splits, not like classes.\n"
            "Name the splits train, val and test; if they are classes, put the images of each "
            "class into its folder directly."
        )
    if len(most) > 1:
        reading.note(
            f"The classes are the folders of {root}, {', '.join(names[:MAX_NAMES])}, not those in "
            f"them, such as {', '.join(most[:MAX_NAMES])}. If the first are splits, name them "
            "train, val and test."
        )
    return {}


def _has_split_word(name: str) -> bool:
    """Return whether a name may be that of a split, such as ``trainset`` or ``fold1``."""
    words = re.split("[^a-z]+", name.lower())
    starts = any(word.startswith(("train", "val", "test")) for word in words)
    return starts or any(map(split_of, words)) or words in (["fold", ""], ["split", ""])


def _scan_splits(folders: dict[str, Path], listed: ListedFiles) -> ClassesAndSplits:
    classes = _class_folders(folders["train"])
    images: dict[str, list[tuple[str, Any]]] = {}
    for split, folder in folders.items():
        names = folders_in(folder)
        forms = {unicodedata.normalize("NFC", name): name for name in names}  # or NFD, on macOS
        folder_names = {
            name: name if name in names else forms.get(unicodedata.normalize("NFC", name))
            for name in classes
        }
        extra = [name for name in names if name not in folder_names.values()]
        if extra:
            lacking = [name for name in classes if folder_names[name] is None]
            raise UsageError(
                f"{folder} and {folders['train']} have different class folders.\n"
                f"Only in {split}: {', '.join(extra)}. "
                f"Only in train: {', '.join(lacking) or 'none'}.\n"
                "Each class needs a folder in train, by the same name."
            )
        images[split] = []
        for target, name in enumerate(folder_names.values()):
            paths = listed.images_in(folder / name) if name else []
            if split == "train" and not paths:
                raise UsageError(
                    f"{folder / classes[target]} has no images.\nAdd some, or move this folder "
                    f"away, if it is no class; these are read: {' '.join(sorted(SUFFIXES))}"
                )
            images[split] += [(path, target) for path in paths]
    return classes, images


def _class_folders(folder: Path) -> list[str]:
    names = folders_in(folder)
    if len(names) < 2:
        remedy = "Put the images of each class into a folder of its own there."
        if names and len(folders_in(folder / names[0])) > 1:
            remedy = f"To read the class folders in its only folder: data.root={folder / names[0]}"
        raise UsageError(
            f"{folder} must have two class folders at least, but has {len(names)}.\n{remedy}"
        )
    for name in names:
        shown = name.encode(errors="backslashreplace").decode()
        if shown != name:
            raise UsageError(f"{folder}: rename {shown}, a name that is not UTF-8.")
    if all(map(split_of, names)):
        raise UsageError(
            f"The class folders of {folder} would be {', '.join(names)}, which are splits.\n"
            f"To read these splits: data.root={folder}"
        )
    return names
