"""Image data sets with bounding boxes of the objects in each image."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..data import batches
from ..data.batches import Sample, collated
from ..data.datamodule import Datasets
from ..data.files import folder_of
from ..data.images import ImageFiles, Unreadable, UnreadableImageError, size_conflict
# ~ if cookiecutter.scope == "complete"
from ..data.labelme import read_labelme
# ~ endif
from ..data.reading_summary import Reading
from ..data.resize import choose_image_size, place
# ~ if cookiecutter.scope == "complete"
from ..data.sampler import image_weights
# ~ endif
from ..data.split import with_splits
# ~ if cookiecutter.scope == "complete"
from ..data.tiles import note_tiles
# ~ endif
from ..settings.data import PixelFormat, ShapesSettings
from ..settings.detection import DataSettings
from .boxes import AnnotatedImage, Target, note_cut_boxes
# ~ if cookiecutter.scope == "complete"
from .coco import from_coco, read_boxes
from .cut_tiles import cut_images
# ~ else
from .coco import read_boxes
# ~ endif
# ~ if cookiecutter.scope == "complete"
from .transforms import MIN_SIDE, FitWithBoxes, PairTransform, join, train_transform
from .voc import read_voc
from .write_shapes import write_shapes
from .yolo import read_yolo

# ~ else
from .transforms import MIN_SIDE, FitWithBoxes, PairTransform, train_transform
from .write_shapes import write_shapes

# ~ endif
UNLABELLED = None
Entry = Sample[Target | None] | Unreadable  # of a data set
Batch = batches.Batch[list[Target]]


class BoxDataset(Dataset[Entry]):
    """A data set of image files and their annotated objects."""

    def __init__(
        self,
        annotated: Sequence[AnnotatedImage],
        transform: PairTransform,
        pixels: PixelFormat,
        *,
        labelled: bool = True,
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(image.path) for image in annotated])
        self.names = self.paths  # as pictures and reports show them
        self.sizes = np.array([image.size for image in annotated])
        # ~ if cookiecutter.scope == "complete"
        self.faults = {index: image.faults for index, image in enumerate(annotated) if image.faults}
        # ~ endif
        # The objects of image ``i`` are those from ``starts[i]`` to ``starts[i + 1]``.
        self.starts = np.cumsum([0, *(len(image.objects) for image in annotated)])
        objects = [annotation for image in annotated for annotation in image.objects]
        boxes = chain.from_iterable(annotation.box for annotation in objects)
        self.boxes = np.fromiter(boxes, dtype=np.float32).reshape(-1, 4)
        self.labels = np.array([annotation.label for annotation in objects], dtype=np.int64)
        self.crowd = np.array([annotation.crowd for annotation in objects], dtype=bool)
        self.areas = np.array([annotation.area for annotation in objects], dtype=np.float32)
        self.transform = transform
        self.labelled = labelled
        self.images: Any = ImageFiles(self.paths, pixels)  # a sequence of DecodedImage

    def __len__(self) -> int:
        return len(self.paths)

    # ~ if cookiecutter.scope == "complete"
    def __getitem__(self, index: int) -> Entry:
        sample, probability = self.sample(index), getattr(self.transform, "mosaic", 0.0)
        if not probability or torch.rand(()) >= probability:
            return sample
        # The global random state depends on the seed, the epoch and the index, see SeededSamples.
        chosen = [sample, *map(self.sample, torch.randint(len(self), (3,)).tolist())]
        pairs = [
            (part.image, part.target)
            for part in chosen
            if isinstance(part, Sample) and part.target is not None
        ]
        # An unreadable image prevents a mosaic here: it is reported as a sample of its own.
        return Sample(*join(pairs), index) if len(pairs) == 4 else sample

    def sample(self, index: int) -> Entry:
        """Return a single transformed image."""
    # ~ else
    def __getitem__(self, index: int) -> Entry:
        # ~ endif
        try:
            (image,), size = self.images[index]
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        annotated_size = tuple(self.sizes[index].tolist())
        if annotated_size not in {size, (0, 0)}:
            reason = size_conflict(size, annotated_size)
            return Unreadable(str(self.paths[index]), reason)
        target = self.target(index, size) if self.labelled else UNLABELLED
        return Sample(*self.transform(image, target), index)

    def target(self, index: int, size: tuple[int, int]) -> Target:
        """Return the annotated objects of an image, whose file has the given height and width."""
        objects = slice(self.starts[index], self.starts[index + 1])
        return Target(
            torch.from_numpy(self.boxes[objects]),
            torch.from_numpy(self.labels[objects]),
            torch.from_numpy(self.crowd[objects]),
            torch.from_numpy(self.areas[objects]) * (size[0] * size[1]),
            size,
        )

    def counted_labels(self, index: int) -> list[int]:
        """Return the classes of the objects of an image, as ``Reading`` counts them."""
        objects = slice(self.starts[index], self.starts[index + 1])
        labels: list[int] = self.labels[objects][~self.crowd[objects]].tolist()
        return labels


def collate(samples: list[Entry]) -> Batch:
    """Make a batch of the samples of readable images, and list the unreadable files."""
    return collated(samples, lambda targets: [part for part in targets if part is not None])


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits."""
    reading = Reading()
    root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
    # ~ if cookiecutter.scope == "complete"
    if settings.name == "yolo":
        classes, found = read_yolo(root, settings, reading)
    elif settings.name in {"voc", "labelme"}:
        read = read_voc if settings.name == "voc" else read_labelme
        classes, images = read(root, settings, reading)
        found = from_coco(images, reading)
    else:
        classes, found = read_boxes(root, settings, reading)
    # ~ else
    classes, found = read_boxes(root, settings, reading)
    # ~ endif
    note_cut_boxes(found, reading)
    splits = with_splits(
        found,
        settings,
        reading,
        path=lambda image: image.path,
        labels=lambda image: {classes[item.label] for item in image.objects if not item.crowd},
    )
    for split, annotated in splits.items():
        counted = [item.label for image in annotated for item in image.objects if not item.crowd]
        reading.count(split, images=len(annotated), labels=counted, classes=classes)
    used = (image.path for annotated in found.values() for image in annotated)
    reading.add_unused_images(folder_of(root), used, "not among the annotated images")
    settings = choose_image_size(settings, len(splits["train"]))
    # ~ if cookiecutter.scope == "complete"
    tiled = {}
    if settings.tiles is not None:
        for split, annotated in splits.items():
            tiled[split], splits[split] = cut_images(annotated, settings.tiles, settings.pixels)
        note_tiles(tiled, settings.tiles, reading)
    # ~ endif
    transforms: dict[str, PairTransform] = {
        "train": train_transform(settings),
        "val": FitWithBoxes(settings),
    }
    datasets = {
        split: BoxDataset(annotated, transforms.get(split, transforms["val"]), settings.pixels)
        for split, annotated in splits.items()
    }
    note_small(datasets["train"], settings, reading)
    # ~ if cookiecutter.scope == "complete"
    for split, tiles in tiled.items():
        datasets[split].images, datasets[split].names = tiles, tiles.names
    labels = ([item.label for item in image.objects if not item.crowd] for image in splits["train"])
    # ~ endif
    return Datasets(
        **datasets,
        classes=classes,
        collate=collate,
        reading=reading,
        settings=settings,
        # ~ if cookiecutter.scope == "complete"
        weights=image_weights(labels, settings.balance),
        # ~ endif
    )


def note_small(train: BoxDataset, settings: DataSettings, reading: Reading) -> None:
    """Note how many objects training drops unless a random crop enlarges them."""
    sizes, indices = np.unique(train.sizes, axis=0, return_inverse=True)
    # An image of unknown size fills at most the model input; with crop, it may exceed the input.
    unknown = (0, 0) if settings.fit == "crop" else settings.input_size
    resized = [place(tuple(size), settings).resized if all(size) else unknown for size in sizes]
    owners = np.repeat(indices.reshape(-1), np.diff(train.starts))  # of each object
    pixels = np.array(resized, dtype=np.float32).reshape(-1, 2)[owners, ::-1]
    sides = (train.boxes[:, 2:] - train.boxes[:, :2]) * pixels
    small = int(((sides < MIN_SIDE).any(axis=1) & (sides > 0).all(axis=1) & ~train.crowd).sum())
    if small:
        reading.note(
            f"Objects of train that are narrower or lower than {MIN_SIDE:g} pixels in the model "
            f"input, and are not learned: {'' if train.sizes.all() else 'at least '}{small} of "
            f"{len(sides)}. A larger data.image_size shows them."
        )


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> BoxDataset:
    """Build a data set of images without targets, transformed as in validation."""
    images = [AnnotatedImage(path, objects=[]) for path in paths]
    return BoxDataset(images, FitWithBoxes(settings), settings.pixels, labelled=False)
