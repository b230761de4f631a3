"""Image data sets with a mask for each image."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data import batches
from ..data.batches import Sample, collated
from ..data.datamodule import Datasets
from ..data.images import DecodedImage, Unreadable, UnreadableImageError, read_image
from ..data.reading_summary import Reading
from ..data.resize import choose_image_size
from ..data.split import with_splits
# ~ if cookiecutter.scope == "complete"
from ..data.tiles import TiledImages, note_tiles
# ~ endif
from ..settings.data import PixelFormat, ShapesSettings
from ..settings.segmentation import DataSettings
from .check_masks import MaskCheck
from .class_list import Classes, read_classes
# ~ if cookiecutter.scope == "complete"
from .coco import CocoMasks, read_outlines
# ~ endif
from .grey_masks import with_greys
from .mask_folders import Pair, find_pairs, write_shapes
from .masks import read_mask
# ~ if cookiecutter.scope == "complete"
from .transforms import SOURCES, PairTransform, eval_transform, paste, train_transform

# ~ else
from .transforms import PairTransform, eval_transform, train_transform

# ~ endif
UNLABELLED = None
# Of a data set; a target is uint8 [H, W] of class ids and IGNORE_INDEX, or UNLABELLED.
Entry = Sample[Tensor | None] | Unreadable
Batch = batches.Batch[Tensor]  # targets: int64 [B, H, W]


class MaskFiles:
    """Read the mask of an image from an image file."""

    def __init__(self, pairs: Sequence[Pair], classes: Classes) -> None:
        self.images = np.array([image for image, _ in pairs])
        self.paths = np.array([mask for _, mask in pairs])
        self.classes = classes

    # ~ if cookiecutter.scope == "complete"
    def source(self, index: int) -> tuple[list[str], object]:
        """Return the file of a mask, and what else its ids depend on."""
        return [str(self.paths[index])], self.classes

    # ~ endif
    def __call__(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return the mask of an image of this height and width, a uint8 tensor [H, W]."""
        return read_mask(str(self.paths[index]), self.classes, size, str(self.images[index]))


# ~ if cookiecutter.scope == "complete"
Masks = MaskFiles | CocoMasks
# ~ else
Masks = MaskFiles
# ~ endif
ImagesAndMasks = Mapping[str, tuple[Sequence[str | Path], Masks]]  # by split


class ImageAndMaskFiles:
    """A sequence of decoded images, each with its mask, if there are masks."""

    def __init__(self, paths: np.ndarray, masks: Masks | None, pixels: PixelFormat) -> None:
        self.paths = paths
        self.pixels = pixels
        self.masks = masks

    def __len__(self) -> int:
        return len(self.paths)

    # ~ if cookiecutter.scope == "complete"
    def source(self, index: int) -> tuple[list[str], object]:
        """Return the files of an image and of its mask, and what else the mask depends on."""
        files, record = self.masks.source(index) if self.masks is not None else ([], None)
        return [str(self.paths[index]), *files], record

    # ~ endif
    def __getitem__(self, index: int) -> DecodedImage:
        image = read_image(str(self.paths[index]), self.pixels)
        size = (image.shape[1], image.shape[2])
        masks = [] if self.masks is None else [self.masks(index, size)[None]]
        return DecodedImage((image, *masks), size)


class MaskDataset(Dataset[Entry]):
    """A data set of image files and their masks."""

    def __init__(
        self,
        images: Sequence[str | Path],
        masks: Masks | None,
        transform: PairTransform,
        pixels: PixelFormat,
    ) -> None:
        # Arrays instead of lists of objects, so that worker processes share their memory.
        self.paths = np.array([str(path) for path in images])
        self.names = self.paths  # as pictures and reports show them
        self.masks = masks
        self.transform = transform
        self.images: Any = ImageAndMaskFiles(self.paths, masks, pixels)  # or a cache of it

    # ~ if cookiecutter.scope == "complete"
    def cut(self, side: int) -> TiledImages:
        """Read images larger than ``side`` pixels as overlapping tiles, and return all tiles."""
        self.images = tiled = TiledImages(self.images, side)
        self.paths, self.names = tiled.paths, tiled.names
        return tiled

    # ~ endif
    def __len__(self) -> int:
        return len(self.paths)

    # ~ if cookiecutter.scope == "complete"
    def __getitem__(self, index: int) -> Entry:
        sample, probability = self.sample(index), getattr(self.transform, "copy_paste", 0.0)
        if not probability or isinstance(sample, Unreadable):
            return sample
        # The global random state depends on the seed, the epoch and the index, see SeededSamples.
        chosen = [sample, *map(self.sample, torch.randint(len(self), (SOURCES,)).tolist())]
        pairs = [
            (part.image, part.target)
            for part in chosen
            if isinstance(part, Sample) and part.target is not None
        ]
        # An unreadable image is left out here: it is reported as a sample of its own.
        return Sample(*paste(pairs, probability), index)

    def sample(self, index: int) -> Entry:
        """Return a single transformed image."""
    # ~ else
    def __getitem__(self, index: int) -> Entry:
        # ~ endif
        try:
            (image, *masks), _ = self.images[index]
        except UnreadableImageError as error:
            return error.unreadable  # the DataModule raises an error or skips the image
        return Sample(*self.transform(image, masks[0][0] if masks else None), index)

    def counted_labels(self, index: int) -> list[int]:
        """Return the classes of the objects of an image, as ``Reading`` counts them."""
        # ~ if cookiecutter.scope == "complete"
        if isinstance(self.masks, CocoMasks):
            objects = self.masks.source(index)[1][-1]
            return [label + 1 for _, label, crowd, _ in objects if not crowd]
        # ~ endif
        return []  # masks have no objects


def collate(samples: list[Entry]) -> Batch:
    """Make a batch of the samples of readable images, and list the unreadable files."""

    def join(masks: list[Tensor | None]) -> Tensor:
        targets = [mask.long() for mask in masks if mask is not None]
        return torch.stack(targets) if targets else torch.empty(0)

    return collated(samples, join)


def build_datasets(settings: DataSettings) -> Datasets:
    """Build the data sets of the three splits."""
    reading = Reading()
    root = write_shapes(settings) if isinstance(settings, ShapesSettings) else settings.root
    # ~ if cookiecutter.scope == "complete"
    splits: ImagesAndMasks
    if settings.name in {"coco", "labelme"}:
        names, splits = read_outlines(settings, reading)
    else:
        names, splits = _read_mask_files(settings, root, reading)
    # ~ else
    names, splits = _read_mask_files(settings, root, reading)
    # ~ endif
    settings = choose_image_size(settings, len(splits["train"][0]))
    evaluation = eval_transform(settings)
    transforms = {"train": train_transform(settings), "val": evaluation, "test": evaluation}
    datasets = {
        split: MaskDataset(*splits[split], transform, settings.pixels)
        for split, transform in transforms.items()
    }
    # ~ if cookiecutter.scope == "complete"
    if settings.tiles is not None:
        tiled = {split: dataset.cut(settings.tiles) for split, dataset in datasets.items()}
        note_tiles(tiled, settings.tiles, reading)
    # ~ endif
    checks = {
        split: MaskCheck(split, dataset, settings.max_pixels)
        for split, dataset in datasets.items()
        if isinstance(dataset.masks, MaskFiles)
    }
    return Datasets(
        **datasets,
        classes=names,
        collate=collate,
        reading=reading,
        settings=settings,
        mask_checks=checks,
    )


def _read_mask_files(
    settings: DataSettings, root: Path, reading: Reading
) -> tuple[list[str], ImagesAndMasks]:
    pairs = find_pairs(root, reading)
    splits = with_splits(pairs, settings, reading, path=itemgetter(0), labels=lambda _: ())
    classes = read_classes(root / "classes.txt")
    by_split = with_greys(classes, splits, reading, max_pixels=settings.max_pixels)
    reading.note_similar(classes.names)
    reading.images.update({split: len(part) for split, part in splits.items()})
    used = chain.from_iterable(chain(*pairs.values()))
    reading.add_unused_images(root, used, "without a mask, or a mask without an image")
    return classes.names, {
        split: ([image for image, _ in part], MaskFiles(part, by_split[split]))
        for split, part in splits.items()
    }


def unlabelled_images(paths: Sequence[Path], settings: DataSettings) -> MaskDataset:
    """Build a data set of images without targets, transformed as in validation."""
    return MaskDataset(paths, None, eval_transform(settings), settings.pixels)
