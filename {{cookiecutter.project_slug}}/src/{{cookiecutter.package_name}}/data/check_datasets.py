"""Check a data set: there is something to learn, and no file is listed twice."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from PIL import Image

from ..errors import UsageError
from .datamodule import Datasets
from .files import folder_of
from .image_formats import UNREADABLE
from .reading_summary import Reading, number_of

MAX_NAMES = 5  # of classes in a note
MAX_OPENED = 200  # files whose frames are counted


def note_repeated(paths: Mapping[str, Sequence[str]], reading: Reading) -> None:
    """Note files that are listed twice in a split, or in two splits."""
    total = sum(map(len, paths.values()))
    text = "\n".join(["", *chain.from_iterable(paths.values())])  # faster than path by path
    if 0 < text.count(f"\n{os.sep}") < total or "/../" in text:
        paths = {split: [*map(os.path.abspath, part)] for split, part in paths.items()}
    if len(set().union(*paths.values())) == total:
        return
    first: dict[str, str] = {}  # the split of each file
    repeated: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for split, names in paths.items():
        for name in names:
            if name in first:
                repeated[first[name], split].append(name)
            else:
                first[name] = split
    for (earlier, split), again in repeated.items():
        if earlier == split:
            reading.note(
                f"{split} lists {number_of(len(again), 'files')} twice, such as {again[0]}. Each "
                "entry is an image of its own, without the annotations of the other entry."
            )
        else:
            reading.note(
                f"{earlier} and {split} have {number_of(len(again), 'files')} in common, such as "
                f"{again[0]}: the scores of {split} will be too good."
            )


def note_frames(paths: Mapping[str, Sequence[str]], reading: Reading) -> None:
    """Note animations and TIFF files of several pages; of many files, only some are opened."""
    # Slices are compared faster than suffixes.
    ends = {".gif", ".png", ".tif", "avif", "tiff", "webp"}
    files = [path for part in paths.values() for path in part if path[-4:].lower() in ends]
    opened = files[:: len(files) // MAX_OPENED + 1]
    several: list[str] = []
    for path in opened:
        with suppress(*UNREADABLE), Image.open(path) as file:  # the data loader reports it
            several += [path] if getattr(file, "n_frames", 1) > 1 else []
    if several:
        reading.note(
            f"{len(several)} of {number_of(len(opened), 'files')} have several frames or pages, "
            f"such as {several[0]}. The first frame is used; pages of a TIFF file are read as the "
            "channels of a single image. If each is an image, save it as a file of its own."
        )


def check_outside_runs(datasets: Datasets, root: Path, runs: Path) -> None:
    """Check that no picture that a run has written is read as an image of the data set.

    Args:
        datasets: the data sets of the splits.
        root: the folder of the data set, or its annotation file.
        runs: the folder of the runs.

    Raises:
        UsageError: for the first image below ``runs`` if that folder is below ``root``.
    """
    inside = os.path.relpath(runs, folder_of(root))
    if inside.startswith(os.pardir):
        return
    folder = os.path.normpath(folder_of(root) / inside) + os.sep
    for split in ("train", "val", "test"):
        for path in map(os.path.normpath, getattr(datasets, split).paths):
            if path.startswith(folder):
                raise UsageError(
                    f"{path} would be read as an image of {split}, but {runs} is the folder of the "
                    "runs.\nMove the data into a folder of their own and name it as data.root, or "
                    "write the runs elsewhere: runs=<folder>"
                )


def check_learnable(reading: Reading) -> None:
    """Check that there is something to learn and to measure, and note classes that are absent.

    Splits whose objects have not been counted are not checked.

    Raises:
        UsageError: if the training split or the validation split has no object, or if all images
            of the training split have the same class or the same labels.
    """
    for split in ("train", "val"):
        counts = reading.objects.get(split)
        if counts is not None and not any(counts.values()):
            verb = "learn" if split == "train" else "measure"
            if reading.counted == "images":
                reason, source = f"no image of {', '.join(counts)}", "folders"
            else:
                number = number_of(reading.images[split], "images")
                reason = f"{number}, but not a single annotated object of {', '.join(counts)}"
                source = "annotations"
            raise UsageError(
                f"{split} has {reason}, so there is nothing to {verb}.\n"
                + "\n".join(reading.lines()[1:])
                + f"\nCheck the {source} of this split."
            )
    trained = reading.objects.get("train", {})
    present = [name for name, count in trained.items() if count]
    all_labelled = {trained[name] for name in present} == {reading.images.get("train")}
    if (len(present) == 1 and reading.counted == "images") or (
        reading.counted == "labels" and all_labelled
    ):
        remedy = "Add images of other classes to train."
        if reading.new_splits:
            remedy += (
                "\nThe images were split at random. If val or test has other classes, try "
                "data.split_by=null, since it may put all images of a class into one split, or "
                "data.split_file=null, since that split may be out of date."
            )
        raise UsageError(
            f"All images of train have the class {' and '.join(present)}, so there is nothing to "
            f"learn.\n{remedy}"
        )
    _note_absent(reading, "train", [name for name in trained if name not in present])
    for split in ("val", "test"):
        counts = reading.objects.get(split, {})
        _note_absent(reading, split, [name for name in present if not counts.get(name, 1)])


def _note_absent(reading: Reading, split: str, absent: list[str]) -> None:
    if absent:
        reason = "they cannot be learned" if split == "train" else "their metrics are undefined"
        names = ", ".join(absent[:MAX_NAMES]) + (" ..." if len(absent) > MAX_NAMES else "")
        reading.note(f"{split} has no {reading.counted} of {names}: {reason}.")
