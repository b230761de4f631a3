"""A cache of decoded images on disk: ``data.cache=disk``."""

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
from .images import Picture

HEADER_BYTES = 16  # height and width of the stored and of the original image, int32 each


def cache_images(datasets: Datasets, settings: Settings) -> None:
    """Let the training and the validation split read their images through the cache.

    Training images are stored so large that the smallest random crop has as many pixels as the
    network sees. Validation images are resized as their transform would do it, so that the network
    sees exactly the same pixels as without the cache.
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
    """Images by position; each is decoded once, and read from the cache from then on.

    Every image has a file of its own, which is written whole or not at all. Any number of
    processes can therefore fill and read the cache at the same time, without locks.
    """

    def __init__(self, images: Any, folder: Path, size: list[int]) -> None:
        """Wrap the images of a data set.

        Args:
            images: pictures by position, with the file of each in ``paths``.
            folder: the folder of the cache; made when the first image is stored.
            size: pixels of the shorter side, or height and width, as ``resize`` takes them.
        """
        self.images = images
        self.folder = folder
        self.size = size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Picture:
        path = self._path(index)
        try:
            return load_picture(path)
        except (OSError, ValueError):  # not stored yet, or emptied by a crash of the machine
            picture = shrink(self.images[index], self.size)
        try:
            save_picture(picture, path)
        except OSError as error:
            warnings.warn(
                f"data.cache_folder={self.folder} cannot be written ({error.strerror}), so images "
                "are decoded in every epoch. Make room there, or choose another folder.",
                stacklevel=2,
            )
        return picture

    def _path(self, index: int) -> Path:
        """Where an image is stored: the name changes with its files and with the stored size."""
        files = [str(self.images.paths[index])]
        # ~ if cookiecutter.task == "segmentation"
        record = self.images.masks.record(index)
        if isinstance(record, tuple):  # a mask file; COCO annotations are in the record itself
            files.append(record[0])
        digest = hashlib.sha256(repr((self.size, record)).encode())
        # ~ else
        digest = hashlib.sha256(repr(self.size).encode())
        # ~ endif
        for file in files:
            with suppress(FileNotFoundError):  # reading it raises the error that names it
                state = Path(file).stat()
                digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        name = digest.hexdigest()[:32]
        return self.folder / name[:2] / name[2:]


def shrink(picture: Picture, size: list[int]) -> Picture:
    """Resize a picture; one that is smaller already stays as it is."""
    image, *aligned = picture.parts
    if min(image.shape[1:]) <= min(size):
        return picture
    image = resize(image, size, antialias=True)
    ids = [resize(part, size, InterpolationMode.NEAREST) for part in aligned]
    return Picture((image, *ids), picture.size)


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture: a header, then the bytes of its parts, [H, W, C] each."""
    header = np.array([*picture.parts[0].shape[1:], *picture.size], dtype=np.int32)
    pixels = [part.permute(1, 2, 0).numpy() for part in picture.parts]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as hidden:
        hidden.write_bytes(b"".join(array.tobytes() for array in (header, *pixels)))


def load_picture(path: Path) -> Picture:
    """Read what ``save_picture`` has written.

    Raises:
        OSError: if there is no such file.
        ValueError: if the file is empty.
    """
    content = np.fromfile(path, dtype=np.uint8)
    height, width, *size = content[:HEADER_BYTES].view(np.int32).tolist()
    # The image has three channels; each part that is aligned with it has a single channel.
    area, pixels = height * width, torch.from_numpy(content[HEADER_BYTES:])
    image = pixels[: 3 * area].view(height, width, 3).permute(2, 0, 1)
    aligned = pixels[3 * area :].view(-1, 1, height, width).unbind()
    return Picture((image, *aligned), (size[0], size[1]))
