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
from .files import SPLIT_NAMES, folder_of
from .image_formats import UNREADABLE
from .reading_summary import Reading, number_of

MAX_NAMES = 5  # of classes in a note
MAX_OPENED = 200  # files whose frames are counted


def note_repeated(paths: Mapping[str, Sequence[str]], reading: Reading) -> None:
    """Note files that are listed twice in a split, or in two splits."""
    listed = [*chain(*paths.values())]
    starts = {path[:1] for path in listed}
    # Some paths may be relative and others absolute; rfind is faster than "in" here.
    if (os.sep in starts and len(starts) > 1) or "\n".join(listed).rfind("/../") >= 0:
        paths = {split: [*map(os.path.abspath, part)] for split, part in paths.items()}
    if len(set().union(*paths.values())) == len(listed):
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
                f"Files that are listed twice: {len(again)}, such as {again[0]}. Each entry is an "
                "image of its own.",
                split=split,
            )
        else:
            reading.note(
                f"{earlier} and {split} have {number_of(len(again), 'files')} in common, such as "
                f"{again[0]}: the scores of {split} will be too good."
            )


def note_frames(paths: Mapping[str, Sequence[str]], reading: Reading) -> None:
    """Note animations and TIFF files of several pages; of many files, only some are opened."""
    ends = {".gif", ".png", ".tif", "avif", "tiff", "webp"}  # compared faster than suffixes
    present = {end for end in {path[-4:] for path in chain(*paths.values())} if end.lower() in ends}
    files = [path for path in chain(*paths.values()) if path[-4:] in present] if present else []
    opened, several = files[:: len(files) // MAX_OPENED + 1], list[str]()
    for path in opened:
        with suppress(*UNREADABLE), Image.open(path) as file:  # the data loader reports it
            several += [path] if getattr(file, "n_frames", 1) > 1 else []
    if several:
        reading.note(
            f"{len(several)} of {number_of(len(opened), 'files')} have several frames or pages, "
            # ~ if cookiecutter.scope == "complete"
            f"such as {several[0]}. The first frame is used; the pages of a TIFF file are used as "
            "channels. If each frame or page is an image, save it as a file of its own."
            # ~ else
            f"such as {several[0]}. The first frame is used; TIFF files of several pages are not "
            "read. If each is an image, save it as a file of its own."
            # ~ endif
        )


def check_outside_runs(datasets: Datasets, root: Path, runs: Path) -> None:
    """Raise a UsageError if a picture of the folder of the runs is read as an image."""
    folder, whole = (f"{path}{os.sep}" for path in map(os.path.abspath, (runs, folder_of(root))))
    if not folder.startswith(whole):
        return
    for split in SPLIT_NAMES:
        for path in map(os.path.abspath, getattr(datasets, split).paths):
            if path.startswith(folder):
                raise UsageError(
                    f"{path} would be read as an image of {split}, but {runs} is the folder of the "
                    "runs.\nMove the data into a folder of their own and name it as data.root, or "
                    "write the runs elsewhere: runs=<folder>"
                )


def check_learnable(reading: Reading) -> None:
    """Check that there is something to learn and to measure, and note classes that are absent.

    Splits whose objects have not been counted are not checked.
    """
    for split in ("train", "val"):
        counts = reading.objects.get(split)
        if counts is not None and not any(counts.values()):
            verb = "learn" if split == "train" else "measure"
            raise UsageError(
                f"{split} has {number_of(reading.images[split], 'images')}, but no "
                f"{reading.counted} of {', '.join(counts)}, so there is nothing to {verb}.\n"
                + "\n".join([*reading.lines()[1:], "Check the folders and the annotations."])
            )
    trained = reading.objects.get("train", {})
    present = [name for name, count in trained.items() if count]
    # ~ if cookiecutter.task == "classification"
    same = {trained[name] for name in present} == {reading.images.get("train")}
    if same and reading.counted != "objects":
        remedy = "Add images of other classes to train."
        if reading.new_splits:
            remedy += (
                "\nThe images were split at random. If val or test has other classes, try "
                "data.split_by=null, which may put a class into one split, or data.split_file=null."
            )
        raise UsageError(
            f"All images of train have the class {' and '.join(present)}, so there is nothing to "
            f"learn.\n{remedy}"
        )
    # ~ endif
    measured = [name for name, count in reading.objects.get("val", {}).items() if count]
    if measured and not {*measured} & {*present}:
        raise UsageError(
            f"train has no {reading.counted} of any class that val has, such as {measured[0]}, so "
            f"there is nothing to measure: {number_of(len(trained), 'classes')} in all.\n"
            "Check the labels: each class needs images in train and in val."
        )
    for split in SPLIT_NAMES:
        counts = reading.objects.get(split, {})
        expected = trained if split == "train" else present
        if absent := [name for name in expected if not counts.get(name, 1)]:
            reason = "they cannot be learned" if split == "train" else "their metrics are undefined"
            names = ", ".join(absent[:MAX_NAMES]) + (" ..." if len(absent) > MAX_NAMES else "")
            reading.note(f"{split} has no {reading.counted} of {names}: {reason}.")
