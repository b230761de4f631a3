"""Images kept decoded and small for training and validation: ``data.cache=ram`` or ``disk``."""

import hashlib
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from filelock import FileLock
from rich.progress import track
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from .datamodule import usable_workers
from .images import Picture, UnreadableImageError

log = logging.getLogger(__name__)

_AT_ONCE = 64  # images for each thread; all of them are in memory before they are written
_PIXELS, _SHAPES = "pixels.bin", "shapes.npy"


class Source(Protocol):
    """Pictures by position."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the parts of each picture."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Picture: ...

    def depends(self) -> list[str]:
        """The files that they are read from, and what else decides how they look."""


class Fit(NamedTuple):
    """How small a kept image may be: as large as its transform needs it."""

    side: int  # pixels
    stretched: bool  # to a square; otherwise the shorter side gets this long, and none longer

    def of(self, height: int, width: int) -> tuple[int, int]:
        """The height and width to keep."""
        if self.stretched:
            return self.side, self.side
        short = min(height, width)
        if short <= self.side:
            return height, width
        # The rounding of torchvision's Resize, so that it finds nothing to do any more.
        return int(self.side * height / short), int(self.side * width / short)


@dataclass(frozen=True)
class Cache:
    """What ``data.cache`` asks for."""

    where: Literal["ram", "disk"]
    folder: Path
    fit: Fit

    def keep(self, files: Source) -> "Kept":
        """Read all pictures once, or find them where an earlier run has put them."""
        if self.where == "ram":
            held = bytearray()
            shapes = _pack(files, self.fit, held.extend)
            pixels = torch.frombuffer(held, dtype=torch.uint8) if held else torch.empty(0)
            return Kept(files, shapes, pixels)
        folder = self.folder / fingerprint(files, self.fit)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # of several processes, one works
            if not folder.is_dir():
                beside = folder.with_suffix(".part")
                shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
                beside.mkdir()
                try:
                    with (beside / _PIXELS).open("wb") as file:
                        shapes = _pack(files, self.fit, file.write)
                    np.save(beside / _SHAPES, shapes)
                    beside.rename(folder)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
                log.info("data.cache=disk: %d images are in %s", len(files), folder)
        return Kept(files, np.load(folder / _SHAPES), folder / _PIXELS)


class Augment(Protocol):
    """The part of ``data.augment`` that decides how much of an image a crop keeps."""

    @property
    def crop_scale(self) -> float:
        """The smallest share of its area."""


class CacheSettings(Protocol):
    """The part of ``data`` that it depends on."""

    cache: Literal["ram", "disk"] | None
    cache_folder: Path
    image_size: int

    @property
    def augment(self) -> Augment:
        """What is done at random to training images."""


def cache_of(settings: CacheSettings, split: str, *, stretched: bool) -> Cache | None:
    """What the settings ask for, if anything.

    Training images stay so large that the smallest random crop has as many pixels as the network
    sees; the others get the size that validation gives them.

    Args:
        settings: of the data.
        split: train, val or test.
        stretched: whether validation makes a square of the whole image.
    """
    if settings.cache is None:
        return None
    fit = Fit(settings.image_size, stretched)
    if split == "train":
        fit = Fit(
            math.ceil(settings.image_size / math.sqrt(settings.augment.crop_scale)), stretched=False
        )
    return Cache(settings.cache, settings.cache_folder, fit)


class Kept:
    """Pictures that need no decoding; those that could not be read are tried again."""

    def __init__(self, files: Source, shapes: np.ndarray, pixels: Tensor | Path) -> None:
        self.files = files
        self.channels = files.channels
        self.shapes = shapes  # int64 [N, 4]: height and width here, and in the file
        self.ends = np.cumsum(shapes[:, 0] * shapes[:, 1] * sum(files.channels))
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.shapes)

    def depends(self) -> list[str]:
        """The files that they come from."""
        return self.files.depends()

    def __getitem__(self, index: int) -> Picture:
        height, width, *size = self.shapes[index].tolist()
        if not height:
            return self.files[index]
        pixels = _mapped(self.pixels) if isinstance(self.pixels, Path) else self.pixels
        start = int(self.ends[index - 1]) if index else 0
        parts = []
        for channels in self.channels:
            end = start + height * width * channels
            parts.append(pixels[start:end].view(height, width, channels).permute(2, 0, 1))
            start = end
        return Picture(tuple(parts), (size[0], size[1]))


def fingerprint(files: Source, fit: Fit) -> str:
    """A name that changes with any file's path, size or time of change, and with ``fit``."""
    told = hashlib.sha256(repr((fit, files.channels)).encode())
    for name in files.depends():
        try:
            state = Path(name).stat()
            told.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        except OSError:
            told.update(f"{name}\0missing\0".encode())
    return told.hexdigest()[:16]


def _pack(files: Source, fit: Fit, write: Callable[[bytes], Any]) -> np.ndarray:
    """Hand over the bytes of all pictures, in order; return their shapes, int64 [N, 4]."""
    shown = track(_shrunk(files, fit), "Decoding images once", total=len(files), transient=True)
    shapes = []
    for pixels, shape in shown:
        write(pixels)
        shapes.append(shape)
    return np.array(shapes, dtype=np.int64).reshape(-1, 4)


def _shrunk(files: Source, fit: Fit) -> Iterator[tuple[bytes, tuple[int, int, int, int]]]:
    def shrink(index: int) -> tuple[bytes, tuple[int, int, int, int]]:
        try:
            parts, size = files[index]
        except UnreadableImageError:
            return b"", (0, 0, 0, 0)
        first, *others = parts
        height, width = fit.of(*first.shape[1:])
        image = resize(first, [height, width], antialias=True)
        ids = [resize(part, [height, width], InterpolationMode.NEAREST) for part in others]
        pixels = b"".join(
            part.permute(1, 2, 0).contiguous().numpy().tobytes() for part in (image, *ids)
        )
        return pixels, (height, width, *size)

    workers = usable_workers()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), workers * _AT_ONCE):
            yield from pool.map(shrink, range(start, min(start + workers * _AT_ONCE, len(files))))


@cache
def _mapped(path: Path) -> Tensor:
    """The bytes of a file, which all processes share: the system reads what is asked for."""
    return torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
