"""Read the images before training, so that a damaged file does not end it later."""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from rich.progress import track

from ..errors import UsageError
from ..run.processes import is_first
from ..settings.data import PixelFormat
from .check_datasets import check_learnable
from .datamodule import Datasets, usable_cpus
from .image_formats import is_transparent
from .images import RGB, Unreadable, UnreadableImageError, may_end_early
# ~ if cookiecutter.scope == "complete" or cookiecutter.task == "detection"
from .reading_summary import OF_MISSING, number_of

# ~ else
from .reading_summary import number_of

# ~ endif
log = logging.getLogger(__name__)
SECONDS = 20.0  # for reading as many images as possible
LONGER = 6  # times as long if all images can be read then
MAX_NAMES = 20  # of unreadable images


def check_images(
    datasets: Datasets,
    *,
    skip_unreadable: bool,
    seed: int,
    pixels: PixelFormat = RGB,
    seconds: float = SECONDS,
) -> None:
    """Read all images before training, or in random order as many as ``seconds`` allow.

    If all can probably be read in ``LONGER`` times as many seconds, so many are allowed. Of the
    others, files that seem to end early are read, for at most ``seconds`` again. Unreadable images
    are logged, and counted in ``datasets.reading`` if they are left out. Images whose pixels are
    all transparent are logged, too. The first process does this for all.

    Raises:
        UsageError: if an image is unreadable; with ``skip_unreadable``, if nothing can be learned
            or measured without the unreadable images.
    """
    if not is_first():
        return
    reading, known = datasets.reading, {*datasets.reading.notes}
    splits = {name: getattr(datasets, name) for name in ("train", "val", "test")}
    names = {name: [name] for name in splits}
    if np.array_equal(splits["test"].paths, splits["val"].paths):
        names["val"].append("test")
        del splits["test"]
    indices = _indices(splits)
    images = [(name, same[-1]) for (name, _), same in indices.items()]
    random.Random(seed).shuffle(images)  # noqa: S311 - no secrets
    checks = Checks(datasets, splits, pixels)
    checked, unreadable = read_in_time(images, checks.read, seconds)
    if checked < len(images):
        ends, cut_off = read_in_time(images[checked:], checks.read_if_it_may_end_early, seconds)
        unreadable += cut_off
        log.info(
            "%d of %d images were checked before the training, and the ends of the files of %d "
            # ~ if cookiecutter.scope == "complete"
            "others; other damaged files %s when they are read. To check all files: "
            "uv run doctor steps=0 with these settings of data",
            # ~ else
            "others; other damaged files %s when they are read.",
            # ~ endif
            checked,
            len(images),
            ends,
            "are left out" if skip_unreadable else "end the training",
        )
    checks.note_transparent(checked)
    if unreadable:
        report_unreadable([image for _, image in unreadable], skip_unreadable=skip_unreadable)
        for (name, index), image in unreadable:
            same = indices[name, str(splits[name].paths[index])]
            _leave_out(image, same, names[name], datasets)
        check_learnable(reading)
        log.info(reading.lines()[0])
    # ~ if cookiecutter.task == "segmentation"
    for name in filter(datasets.mask_checks.__contains__, splits):
        datasets.mask_checks[name].report(reading)
    # ~ endif
    for note in reading.notes:
        if note not in known:
            log.info(note)


class Checks:
    """What is looked for in each image. The methods are called by several threads."""

    def __init__(self, datasets: Datasets, splits: Mapping[str, Any], pixels: PixelFormat) -> None:
        self.datasets = datasets
        self.splits = splits  # without a test split that equals val
        self.pixels = pixels
        self.transparent: list[str] = []  # paths

    def read(self, name: str, index: int) -> Any:
        """Read an image of a split, and return its sample or an ``Unreadable``."""
        split = self.splits[name]
        path = str(split.paths[index])
        if is_transparent(path, self.pixels):
            self.transparent.append(path)
        # ~ if cookiecutter.task == "segmentation"
        if masks := self.datasets.mask_checks.get(name):
            return masks.read(index, *_files(split, index))
        # ~ endif
        return _read(split, index)

    def read_if_it_may_end_early(self, name: str, index: int) -> Any:
        """Read an image if one of its files seems to end early."""
        split = self.splits[name]
        files = _files(split, index)
        # ~ if cookiecutter.task == "segmentation"
        if masks := self.datasets.mask_checks.get(name):
            masks.headers.read(*files)
        # ~ endif
        return _read(split, index) if any(map(may_end_early, files)) else True

    def note_transparent(self, checked: int) -> None:
        """Note the images, of so many, whose pixels are all transparent."""
        if self.transparent:
            self.datasets.reading.note(
                "Images whose pixels are all transparent, so that they are read as white: "
                f"{len(self.transparent)} of {checked}, such as {min(self.transparent)}."
            )


def _indices(splits: Mapping[str, Any]) -> dict[tuple[str, str], list[int]]:
    """Return the indices of each path, which may be listed several times, in each split."""
    indices: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for name, split in splits.items():
        for index, path in enumerate(map(str, split.paths)):
            indices[name, path].append(index)
    return indices


def report_unreadable(unreadable: Sequence[Unreadable], *, skip_unreadable: bool) -> None:
    """Log unreadable images, and raise an error about the first unless they are left out."""
    paths: defaultdict[str, list[str]] = defaultdict(list)  # by the reason
    for image in unreadable[:MAX_NAMES]:
        paths[image.reason].append(image.path)
    found = ", ".join(f"{', '.join(names)} ({reason})" for reason, names in paths.items())
    more = f" and {len(unreadable) - MAX_NAMES} more" if len(unreadable) > MAX_NAMES else ""
    count = number_of(len(unreadable), "unreadable images")
    log.info("%s: %s%s.", f"Left out: {count}" if skip_unreadable else count, found, more)
    if not skip_unreadable:
        raise UnreadableImageError(*unreadable[0])


def _leave_out(
    image: Unreadable, indices: Sequence[int], splits: Sequence[str], datasets: Datasets
) -> None:
    """Count the entries of an image, and its objects, as left out of splits of equal images."""
    dataset, reading = getattr(datasets, splits[0]), datasets.reading
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    are_tiles = dataset.names is not dataset.paths
    indices = indices[:1] if are_tiles else indices
    counted = reading.objects and not are_tiles
    labels = [*chain(*map(dataset.counted_labels, indices))] if counted else []
    if are_tiles and reading.objects:  # those of the tiles of a file are not known
        reading.note("The numbers of each class include the unreadable images.")
    # ~ else
    labels = [*chain(*map(dataset.counted_labels, indices))] if reading.objects else []
    # ~ endif
    for split in splits:
        reading.leave_out("images", "unreadable", image.path, split=split, count=len(indices))
        reading.images[split] -= len(indices)
        if not reading.images[split]:
            raise UsageError(
                f"None of the images of {split} can be read, such as {image.path}: {image.reason}."
                "\nRepair them, or name other data."
            )
        # ~ if cookiecutter.scope == "complete" or cookiecutter.task == "detection"
        if labels and reading.counted != "images":
            count = len(labels)
            reading.leave_out(reading.counted, OF_MISSING, image.path, split=split, count=count)
        # ~ endif
        for label in labels:
            reading.objects[split][datasets.classes[label]] -= 1


def read_in_time(
    images: Sequence[tuple[str, int]], read: Callable[[str, int], Any], seconds: float
) -> tuple[int, list[tuple[tuple[str, int], Unreadable]]]:
    """Read images, each given by its split and its index there, in threads.

    Return for how many there is time, and those that are unreadable.
    """
    began, count = time.monotonic(), 0
    end = began + seconds
    unreadable: list[tuple[tuple[str, int], Unreadable]] = []
    starts = range(0, len(images), 16 * usable_cpus())

    def read_until(image: tuple[str, int], end: float) -> Any:
        return time.monotonic() < end and read(*image)

    # The transforms that are applied here must not change the random numbers of the training.
    with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(usable_cpus()) as pool:
        for start in track(starts, "Checking the images", transient=True):
            elapsed, part = time.monotonic() - began, images[start : start + starts.step]
            if start and elapsed > seconds / 2 and elapsed * len(images) < LONGER * seconds * start:
                end = began + LONGER * seconds
            samples = pool.map(read_until, part, repeat(end))
            for image, sample in zip(part, samples, strict=True):
                if not sample:
                    return count, unreadable
                count += 1
                if isinstance(sample, Unreadable):
                    unreadable.append((image, sample))
    return count, unreadable


def _files(split: Any, index: int) -> list[str]:
    """Return the files of a sample."""
    # ~ if cookiecutter.scope == "complete"
    files: list[str] = split.images.source(index)[0]
    return files


# ~ elif cookiecutter.task == "segmentation"
    return [str(split.paths[index]), str(split.masks.paths[index])]


# ~ else
    return [str(split.paths[index])]


# ~ endif
def _read(split: Any, index: int) -> Any:
    return split{{ ".sample(index)  # without the images that are joined to it" if cookiecutter.scope == "complete" and cookiecutter.task != "classification" else "[index]" }}
