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

from ..run.atomic_files import replacing
from ..settings.data import DataFolder
from ..settings.schema import Settings
from .datamodule import Datasets
from .images import DecodedImage
from .resize import place

VERSION = 4  # increase it if the same file gives other pixels than before
HEADER_BYTES = 20  # channels, height, width, and height and width of the image file, int32 each


def cache_images(datasets: Datasets, settings: Settings) -> None:
    """Read the images of the training and validation splits through the cache.

    Training images keep their aspect ratio. They are stored larger than the model input, by the
    factor ``1 / sqrt(augment.crop_scale)`` for each side, so that even the smallest random crop has
    as many pixels as the part of the model input that it fills. Validation images are stored as
    their transform would resize them, so that the model input is the same as without the cache.
    """
    data = settings.data
    sides = [math.ceil(side / math.sqrt(data.augment.crop_scale)) for side in data.input_size]
    fit = "letterbox" if data.fit == "letterbox" else "crop"
    larger = data.model_copy(update={"image_size": tuple(sides), "fit": fit})
    for dataset, fitted in ((datasets.train, larger), (datasets.val, data)):
        dataset.images = CachedImages(dataset.images, data.cache_folder, fitted)


class CachedImages:
    """A sequence of images, each of which is decoded once and then read from the cache.

    Each has its own file, which is written atomically, so that any number of processes can fill and
    read the cache at the same time, without locks.
    """

    def __init__(self, images: Any, folder: Path, settings: DataFolder) -> None:
        self.images = images  # a sequence of DecodedImage
        self.source = images.source  # the files of an image, and what else its pixels depend on
        self.folder = folder
        self.settings = settings  # whose image_size and fit the images are stored for

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> DecodedImage:
        path = self._path(index)
        with suppress(OSError, ValueError):  # not stored yet, or truncated when the machine crashed
            return read_decoded(path)
        decoded = self.images[index]
        decoded = shrink(decoded, place(decoded.size, self.settings).resized)
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
        data = self.settings
        stored = (VERSION, data.input_size, data.fit, data.channels, data.value_range)
        files, record = self.source(index)
        digest = hashlib.sha256(repr((stored, record)).encode())
        for file in files:
            with suppress(FileNotFoundError):  # reading the image raises a better error
                state = Path(file).stat()
                digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        name = digest.hexdigest()[:32]
        return self.folder / name[:2] / name[2:]


def shrink(decoded: DecodedImage, size: tuple[int, int]) -> DecodedImage:
    """Resize an image to this height and width, unless it has at most as many pixels already."""
    image, *aligned = decoded.parts
    if math.prod(image.shape[1:]) <= math.prod(size):
        return decoded
    image = resize(image, list(size), antialias=True)
    ids = [resize(part, list(size), InterpolationMode.NEAREST_EXACT) for part in aligned]
    return DecodedImage((image, *ids), decoded.size)


def write_decoded(decoded: DecodedImage, path: Path) -> None:
    """Write an image: a header of ``HEADER_BYTES``, then the bytes of each part as [H, W, C]."""
    header = np.array([*decoded.parts[0].shape, *decoded.size], dtype=np.int32)
    pixels = [part.permute(1, 2, 0).numpy() for part in decoded.parts]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as hidden:
        hidden.write_bytes(b"".join(array.tobytes() for array in (header, *pixels)))


def read_decoded(path: Path) -> DecodedImage:
    """Read what ``write_decoded`` has written; a truncated file raises a ``ValueError``."""
    content = np.fromfile(path, dtype=np.uint8)
    channels, height, width, *size = content[:HEADER_BYTES].view(np.int32).tolist()
    pixels, area = torch.from_numpy(content[HEADER_BYTES:]), height * width
    if not 0 < channels * area <= len(pixels) or len(pixels) % area:
        raise ValueError(f"{path} is truncated")
    image = pixels[: channels * area].view(height, width, channels).permute(2, 0, 1)
    aligned = pixels[channels * area :].view(-1, 1, height, width)  # of a single channel each
    return DecodedImage((image, *aligned), (size[0], size[1]))
