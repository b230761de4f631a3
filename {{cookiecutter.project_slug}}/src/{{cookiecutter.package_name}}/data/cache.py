"""Cache decoded images on disk (``data.cache=disk``)."""

import hashlib
import math
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from ..run.files import replacing
from ..settings.tree import Settings
from .datamodule import Datasets
from .images import DecodedImage

HEADER_BYTES = 20  # channels, height and width, and those of the original image, int32 each


def cache_images(datasets: Datasets, settings: Settings) -> None:
    """Read the images of the training and validation splits through the cache.

    Training images are stored large enough that the smallest random crop has as many pixels as the
    network input. Validation images are resized in the same way as by their transform, so that the
    network input is identical to that without the cache.
    """
    side, folder = settings.data.image_size, settings.data.cache_folder
    train_size = [math.ceil(side / math.sqrt(settings.data.augment.crop_scale))]
    # ~ if cookiecutter.task == "classification"
    val_size = [side]
    # ~ else
    val_size = [side, side]
    # ~ endif
    for split, size in ((datasets.train, train_size), (datasets.val, val_size)):
        dataset: Any = split
        dataset.images = CachedImages(dataset.images, folder, size)


class CachedImages:
    """A sequence of images. Each image is decoded once and read from the cache afterwards.

    Each image has its own file, which is written atomically. Any number of processes can therefore
    fill and read the cache at the same time, without locks.
    """

    def __init__(self, images: Any, folder: Path, size: list[int]) -> None:
        """Wrap the images of a data set.

        Args:
            images: a sequence of ``DecodedImage``, whose attribute ``paths`` lists the image files.
            folder: the cache folder, which is created when the first image is stored.
            size: ``[shorter side]`` or ``[height, width]`` in pixels, as for ``resize``.
        """
        self.images = images
        self.folder = folder
        self.size = size
        self.pixels = images.pixels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> DecodedImage:
        path = self._path(index)
        try:
            return read_decoded(path)
        except (OSError, ValueError):  # not stored yet, or truncated by a crash of the machine
            decoded = shrink(self.images[index], self.size)
        try:
            write_decoded(decoded, path)
        except OSError as error:
            warnings.warn(
                f"data.cache_folder={self.folder} cannot be written ({error.strerror}), so images "
                "are decoded in every epoch. Make room there, or choose another folder.",
                stacklevel=2,
            )
        return decoded

    def _path(self, index: int) -> Path:
        """Return the path of a cached image; it depends on the source files and the stored size."""
        files = [str(self.images.paths[index])]
        stored = (self.size, self.pixels.channels, self.pixels.value_range)
        # ~ if cookiecutter.task == "segmentation"
        record = self.images.masks.record(index)
        if isinstance(record, tuple):  # mask file and classes, not a COCO record
            files.append(record[0])
        digest = hashlib.sha256(repr((stored, record)).encode())
        # ~ else
        digest = hashlib.sha256(repr(stored).encode())
        # ~ endif
        for file in files:
            with suppress(FileNotFoundError):  # reading the image raises a better error
                state = Path(file).stat()
                digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        name = digest.hexdigest()[:32]
        return self.folder / name[:2] / name[2:]


def shrink(decoded: DecodedImage, size: list[int]) -> DecodedImage:
    """Resize an image, unless it is smaller than ``size`` already."""
    image, *aligned = decoded.parts
    if min(image.shape[1:]) <= min(size):
        return decoded
    image = resize(image, size, antialias=True)
    ids = [resize(part, size, InterpolationMode.NEAREST) for part in aligned]
    return DecodedImage((image, *ids), decoded.size)


def write_decoded(decoded: DecodedImage, path: Path) -> None:
    """Write an image: a header of ``HEADER_BYTES``, then the bytes of each part as [H, W, C]."""
    header = np.array([*decoded.parts[0].shape, *decoded.size], dtype=np.int32)
    pixels = [part.permute(1, 2, 0).numpy() for part in decoded.parts]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as hidden:
        hidden.write_bytes(b"".join(array.tobytes() for array in (header, *pixels)))


def read_decoded(path: Path) -> DecodedImage:
    """Read an image that ``write_decoded`` has written.

    Raises:
        OSError: if there is no such file.
        ValueError: if the file is empty.
    """
    content = np.fromfile(path, dtype=np.uint8)
    channels, height, width, *size = content[:HEADER_BYTES].view(np.int32).tolist()
    # Each part after the image has a single channel.
    values, pixels = channels * height * width, torch.from_numpy(content[HEADER_BYTES:])
    image = pixels[:values].view(height, width, channels).permute(2, 0, 1)
    aligned = pixels[values:].view(-1, 1, height, width).unbind()
    return DecodedImage((image, *aligned), (size[0], size[1]))
