"""Read the images before training, so that a damaged file does not end it later."""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from rich.progress import track

from ..errors import UsageError
from ..run.processes import is_first
from .check_datasets import check_learnable
from .datamodule import Datasets, usable_cpus
from .image_formats import is_transparent
from .images import Unreadable, UnreadableImageError, may_end_early
# ~ if cookiecutter.scope == "complete" or cookiecutter.task == "detection"
from .reading_summary import OF_MISSING, number_of

# ~ else
from .reading_summary import number_of

# ~ endif
log = logging.getLogger(__name__)
SECONDS = 20.0  # for reading as many images as possible
MAX_NAMES = 20  # of unreadable images


def check_images(
    datasets: Datasets,
    *,
    skip_unreadable: bool,
    seed: int,
    channels: int = 3,
    seconds: float = SECONDS,
) -> None:
    """Read all images before training, or in random order as many as ``seconds`` allow.

    Those of the others whose file may end early are read, too, for at most as many seconds more.
    Unreadable images are logged, and counted in ``datasets.reading`` if they are left out. With
    three ``channels``, images whose pixels are all transparent are logged, too. The first process
    does this for all.

    Raises:
        UsageError: if an image is unreadable, or with ``skip_unreadable`` all of a split.
    """
    if not is_first():
        return
    splits = {name: getattr(datasets, name) for name in ("train", "val", "test")}
    names = {name: [name] for name in splits}
    if np.array_equal(splits["test"].paths, splits["val"].paths):
        names["val"].append("test")
        del splits["test"]
    # A path is repeated for each tile of its file, which is decoded as a whole.
    chosen = {
        (name, path): (name, index)
        for name, split in splits.items()
        for index, path in enumerate(map(str, split.paths))
    }
    images = list(chosen.values())
    random.Random(seed).shuffle(images)  # noqa: S311 - no secrets
    reading, transparent = datasets.reading, list[str]()  # the latter are paths

    def read(name: str, index: int) -> Any:
        path = str(splits[name].paths[index])
        if channels == 3 and is_transparent(path):
            transparent.append(path)
        return _read(splits[name], index)

    def read_if_it_may_end_early(name: str, index: int) -> Any:
        files = _files(splits[name], index)
        return _read(splits[name], index) if any(map(may_end_early, files)) else True

    checked, unreadable = read_in_time(images, read, seconds)
    if checked < len(images):
        ends, cut_off = read_in_time(images[checked:], read_if_it_may_end_early, seconds)
        unreadable += cut_off
        log.info(
            "%d of %d images were checked before the training, and the ends of the files of %d "
            "others; a file that is damaged elsewhere %s when it is read.",
            checked,
            len(images),
            ends,
            "is left out" if skip_unreadable else "ends it",
        )
    known = len(reading.notes)
    if transparent:
        reading.note(
            "Images whose pixels are all transparent, so that they are read as white: "
            f"{len(transparent)} of {checked}, such as {min(transparent)}."
        )
    if unreadable:
        _report([image for _, image in unreadable], skip_unreadable=skip_unreadable)
        are_tiles = len(chosen) < sum(map(len, splits.values()))
        _leave_out(unreadable, names, datasets, are_tiles=are_tiles)
    for note in reading.notes[known:]:
        log.info(note)


def _report(unreadable: Sequence[Unreadable], *, skip_unreadable: bool) -> None:
    found = ", ".join(f"{image.path} ({image.reason})" for image in unreadable[:MAX_NAMES])
    more = f" and {len(unreadable) - MAX_NAMES} more" if len(unreadable) > MAX_NAMES else ""
    count = number_of(len(unreadable), "unreadable images")
    log.info("%s: %s%s.", f"Left out: {count}" if skip_unreadable else count, found, more)
    if not skip_unreadable:
        raise UnreadableImageError(*unreadable[0])


def _leave_out(
    unreadable: Sequence[tuple[tuple[str, int], Unreadable]],
    names: Mapping[str, Sequence[str]],
    datasets: Datasets,
    *,
    are_tiles: bool,
) -> None:
    """Count images and their objects as left out, and check what remains.

    ``names`` are the splits that have the images of a split. The objects of tiles are not known.
    """
    reading = datasets.reading
    for (name, index), image in unreadable:
        labels = [] if are_tiles else getattr(datasets, name).counted_labels(index)
        for split in names[name]:
            reading.leave_out("images", "unreadable", image.path, split=split)
            reading.images[split] -= 1
            if not reading.images[split]:
                raise UsageError(
                    f"None of the images of {split} can be read, such as {image.path}: "
                    f"{image.reason}.\nRepair them, or name other data."
                )
            # ~ if cookiecutter.scope == "complete" or cookiecutter.task == "detection"
            if labels and reading.counted != "images":
                count = len(labels)
                reading.leave_out(reading.counted, OF_MISSING, image.path, split=split, count=count)
            # ~ endif
            for label in labels:
                reading.objects[split][datasets.classes[label]] -= 1
    if are_tiles:
        reading.note("The numbers of each class include the unreadable images.")
    check_learnable(reading)
    log.info(reading.lines()[0])


def read_in_time(
    images: Sequence[tuple[str, int]], read: Callable[[str, int], Any], seconds: float
) -> tuple[int, list[tuple[tuple[str, int], Unreadable]]]:
    """Read images, each given by its split and its index there, in threads.

    Return for how many there is time, and those that are unreadable.
    """
    end, count = time.monotonic() + seconds, 0
    unreadable: list[tuple[tuple[str, int], Unreadable]] = []
    starts = range(0, len(images), 16 * usable_cpus())
    # The transforms that are applied here must not change the random numbers of the training.
    with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(usable_cpus()) as pool:
        for start in track(starts, "Checking the images", transient=True):
            part = images[start : start + starts.step]
            samples = pool.map(lambda image: time.monotonic() < end and read(*image), part)
            for image, sample in zip(part, samples, strict=True):
                if not sample:
                    return count, unreadable
                count += 1
                if isinstance(sample, Unreadable):
                    unreadable.append((image, sample))
    return count, unreadable


def _files(split: Any, index: int) -> list[str]:
    """Return the files of an image."""
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
