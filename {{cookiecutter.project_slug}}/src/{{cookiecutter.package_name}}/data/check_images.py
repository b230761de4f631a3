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
from .datamodule import Datasets, usable_cpus
# ~ if cookiecutter.scope == "complete"
from .images import Unreadable, UnreadableImageError, may_end_early
# ~ else
from .images import Unreadable, UnreadableImageError
# ~ endif
from .reading_summary import number_of

log = logging.getLogger(__name__)
SECONDS = 20.0  # for reading as many images as possible
MAX_NAMES = 20  # of unreadable images


def check_images(
    datasets: Datasets, *, skip_unreadable: bool, seed: int, seconds: float = SECONDS
) -> None:
    """Read all images before training, or in random order as many as ``seconds`` allow.

    # ~ if cookiecutter.scope == "complete"
    Those of the others whose file may end early are read, too, for at most as many seconds more.
    # ~ endif
    Unreadable images are logged. The first process does this for all.

    Raises:
        UsageError: if an image is unreadable, or with ``skip_unreadable`` all of a split.
    """
    if not is_first():
        return
    splits = {name: getattr(datasets, name) for name in ("train", "val", "test")}
    if np.array_equal(splits["test"].paths, splits["val"].paths):
        del splits["test"]
    # A path is repeated for each tile of its file, which is decoded as a whole.
    chosen = {
        (name, path): (split, index)
        for name, split in splits.items()
        for index, path in enumerate(map(str, split.paths))
    }
    images = list(chosen.values())
    random.Random(seed).shuffle(images)  # noqa: S311 - no secrets
    checked, unreadable = read_in_time(images, _read, seconds)
    if checked < len(images):
        # ~ if cookiecutter.scope == "complete"
        ends, cut_off = read_in_time(images[checked:], _read_if_it_may_end_early, seconds)
        unreadable += cut_off
        # ~ endif
        log.info(
            # ~ if cookiecutter.scope == "complete"
            "%d of %d images were checked before the training, and the ends of the files of %d "
            "others; a file that is damaged elsewhere %s when it is read.",
            checked,
            len(images),
            ends,
            "is left out" if skip_unreadable else "ends it",
            # ~ else
            "%d of %d images were checked before the training; a damaged file among the others "
            "%s when it is read.",
            checked,
            len(images),
            "is left out" if skip_unreadable else "ends it",
            # ~ endif
        )
    if unreadable:
        files = ", ".join(f"{image.path} ({image.reason})" for image in unreadable[:MAX_NAMES])
        more = f" and {len(unreadable) - MAX_NAMES} more" if len(unreadable) > MAX_NAMES else ""
        found = number_of(len(unreadable), "unreadable images")
        log.info("%s: %s%s.", f"Left out: {found}" if skip_unreadable else found, files, more)
        if not skip_unreadable:
            raise UnreadableImageError(*unreadable[0])
        _check_readable(splits)


def _check_readable(splits: Mapping[str, Any]) -> None:
    """Raise a UsageError if no image of a split can be read."""
    with torch.random.fork_rng(devices=[]):
        for name, split in splits.items():
            samples = (split[index] for index in range(len(split)))
            if len(split) and all(isinstance(sample, Unreadable) for sample in samples):
                path, reason = split[0]
                raise UsageError(
                    f"None of the images of {name} can be read, such as {path}: {reason}."
                    "\nRepair them, or name other data."
                )


def read_in_time(
    images: Sequence[tuple[Any, int]], read: Callable[[Any, int], Any], seconds: float
) -> tuple[int, list[Unreadable]]:
    """Read images, each a data set and an index, in threads.

    Return for how many there is time, and those that are unreadable.
    """
    end, count, unreadable = time.monotonic() + seconds, 0, list[Unreadable]()
    starts = range(0, len(images), 16 * usable_cpus())
    # The transforms that are applied here must not change the random numbers of the training.
    with torch.random.fork_rng(devices=[]), ThreadPoolExecutor(usable_cpus()) as pool:
        for start in track(starts, "Checking the images", transient=True):
            part = images[start : start + starts.step]
            for sample in pool.map(lambda image: time.monotonic() < end and read(*image), part):
                if not sample:
                    return count, unreadable
                count += 1
                if isinstance(sample, Unreadable):
                    unreadable.append(sample)
    return count, unreadable


# ~ if cookiecutter.scope == "complete"
def _read_if_it_may_end_early(split: Any, index: int) -> Any:
    files, _ = split.images.source(index)
    return _read(split, index) if any(map(may_end_early, files)) else True


# ~ endif
def _read(split: Any, index: int) -> Any:
    return split{{ ".sample(index)  # without the images that are joined to it" if cookiecutter.scope == "complete" and cookiecutter.task != "classification" else "[index]" }}
