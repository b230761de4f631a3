"""Split images that come without splits, and repeat a split that a run has written."""

import csv
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..run.atomic_files import write_csv
from ..run.folder import Run
from ..run.processes import is_first
from ..settings.data import DataFolder, OwnFolder
from ..settings.schema import Settings
from .check_datasets import note_frames, note_repeated
from .datamodule import Datasets
# ~ if cookiecutter.scope == "complete"
from .exclude import without_excluded
# ~ endif
from .files import relative_names
from .reading_summary import Reading, number_of

SPLITS = ("train", "val", "test")
Shares = tuple[float, float, float]  # of the images, for train, val and test
ImageT = TypeVar("ImageT")


def with_splits(
    images: Mapping[str, Sequence[ImageT]],
    settings: DataFolder,
    reading: Reading,
    *,
    path: Callable[[ImageT], str | Path],
    labels: Callable[[ImageT], Collection[str]],
) -> dict[str, Sequence[ImageT]]:
    """Return the images of all splits; without val, the images of train are split.

    Without images for test, the validation images are tested.

    Args:
        images: the images by split; those of data without splits are the images of train.
        settings: the settings that begin with ``split``.
        reading: receives the notes and counts.
        path: returns the path of an image.
        labels: returns the names of the classes in an image; a split keeps their frequencies.

    Raises:
        UsageError: if there are too few images to split, the pattern does not match an image, the
            file does not belong to these images, or a setting is for data without splits.
    """
    # ~ if cookiecutter.scope == "complete"
    images = without_excluded(images, settings, reading, path)
    # ~ endif
    paths = {split: [str(path(image)) for image in part] for split, part in images.items()}
    note_repeated(paths, reading)
    note_frames(paths, reading)
    if "val" in images or not isinstance(settings, OwnFolder):
        for name in ("split_by", "split_file"):
            if getattr(settings, name, None) is not None:
                raise UsageError(
                    f"data.{name} is for data without splits, but {settings.root} has splits.\n"
                    f"To use them: data.{name}=null"
                )
        if not images.get("test"):
            reading.note(f"{settings.root} has no test images: the validation images are tested.")
        return {**images, "test": images.get("test") or images["val"]}
    train, val, test = settings.split
    shares, reading.new_splits = (train, val, test), SPLITS
    if images.get("test"):
        shares = (train / (train + val), val / (train + val), 0.0)
        reading.new_splits = SPLITS[:2]
    unsplit = images["train"]
    if settings.split_file:
        names = relative_names(paths["train"], settings.root)
        parts = _read_split(settings.split_file, names, reading)
        if images.get("test") and parts["test"]:
            reason = f"of test in {settings.split_file}, but the data have other images for test"
            first, lost = paths["train"][parts["test"][0]], len(parts["test"])
            reading.leave_out("images", reason, first, split="test", count=lost)
            parts["test"] = []
    else:
        parts = _random_split(paths["train"], [*map(labels, unsplit)], settings, shares)
    splits = {split: [unsplit[index] for index in sorted(parts[split])] for split in SPLITS}
    sizes = ", ".join(f"{len(part)} for {split}" for split, part in splits.items() if part)
    count = number_of(sum(map(len, splits.values())), "images")
    source = f" as in {settings.split_file}" if settings.split_file else ""
    reading.note(f"{settings.root} has no images for val, so {count} are split{source}: {sizes}.")
    return {**splits, "test": images.get("test") or splits["test"] or splits["val"]}


def record_split(settings: Settings, datasets: Datasets, run: Run) -> Settings:
    """Write ``split.csv`` into the run folder, unless the data have splits of their own.

    The file has the path below ``data.root`` and the split of each image. The returned settings
    name it as ``data.split_file``, so that checkpoints refer to it.
    """
    data = settings.data
    if not datasets.reading.new_splits or not isinstance(data, OwnFolder):
        return settings
    if is_first() and data.split_file != run.split:  # a resumed run keeps its file
        rows: dict[str, str] = {}
        for split in datasets.reading.new_splits:
            for name in relative_names(getattr(datasets, split).paths, data.root):
                rows.setdefault(name, split)  # the test may repeat val
        write_csv(run.split, ["file", "split"], rows.items())
    data = data.model_copy(update={"split_file": run.split})
    return settings.model_copy(update={"data": data})


def _group(paths: Sequence[str], root: Path, pattern: str | None) -> list[list[int]]:
    """Return the images of each group; without a pattern, each file is a group of its own."""
    if pattern is None and len({*paths}) == len(paths):
        return [[index] for index in range(len(paths))]
    keys = paths  # some files are listed twice
    if pattern is not None:
        keys = [_group_of(name, pattern) for name in relative_names(paths, root)]
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return list(groups.values())


def _group_of(name: str, pattern: str) -> str:
    # A pattern with a slash is about folders, any other about the name of the file.
    text = name if "/" in pattern else name.rpartition("/")[2]
    match = re.search(pattern, text)
    key = match and (match[1] if match.re.groups else match[0])
    if not key:  # an empty match is none
        raise UsageError(
            f"data.split_by={pattern} does not match {text}, so its group is not known.\n"
            "Name a pattern that matches each image, such as data.split_by='^[a-z]+'"
        )
    return key


def _random_split(
    paths: Sequence[str], labels: Sequence[Collection[str]], settings: OwnFolder, shares: Shares
) -> dict[str, list[int]]:
    """Split images at random, separately for each class, with the images of a group together.

    A group of several classes belongs to the rarest of them. A class of fewer groups than splits is
    only trained on, unless there are no other images for val. A share of 0 for the test makes no
    test split. The result has the indices of the images by split.
    """
    groups = _group(paths, settings.root, settings.split_by)
    classes = [
        labels[group[0]]  # no copy where each image is a group
        if len(group) == 1
        else {label for index in group for label in labels[index]}
        for group in groups
    ]
    counts = Counter(chain.from_iterable(classes))
    strata: defaultdict[str, list[int]] = defaultdict(list)  # the numbers of the groups
    for group, present in enumerate(classes):
        rarest = next(iter(present), "")
        if len(present) > 1:
            rarest = min(present, key=lambda label: (counts[label], label))
        strata[rarest].append(group)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    sizes = [*map(len, groups)]
    number = 3 if shares[2] else 2
    rare: list[int] = []
    for name, stratum in strata.items():
        random.Random(f"{settings.split_seed}/{name}").shuffle(stratum)  # noqa: S311 - no secrets
        if len(stratum) < number:
            rare += stratum
        else:
            _cut(stratum, sizes, shares, parts)
    if parts["val"] or len(rare) < number:
        parts["train"] += rare
    else:
        _cut(rare, sizes, shares, parts)
    if not parts["val"]:
        count = number_of(len(groups), "groups")
        grouped = f" in {count} (data.split_by)" if len(groups) < len(paths) else ""
        raise UsageError(
            f"Too few images to split into {number} parts: {len(paths)}{grouped}.\n"
            "Add images, or provide folders or files for the splits."
        )
    return {
        split: [index for group in sorted(part) for index in groups[group]]
        for split, part in parts.items()
    }


def _cut(
    groups: list[int], sizes: Sequence[int], shares: Shares, parts: dict[str, list[int]]
) -> None:
    """Add groups to the splits, at least one to each; the training split gets the rest."""
    images = sum(sizes[group] for group in groups)
    number = 3 if shares[2] else 2
    for position in range(1, number):
        target, size = max(1, round(shares[position] * images)), 0
        limit = len(groups) - (number - position)  # leaves a group for each later split
        chosen: list[int] = []
        for group in groups:
            if size >= target:
                break
            closer = abs(size + sizes[group] - target) < abs(size - target)
            if closer and len(chosen) < limit:
                chosen.append(group)
                size += sizes[group]
        if not chosen:  # each group is larger than twice the target
            chosen = [min(groups, key=sizes.__getitem__)]
        parts[SPLITS[position]] += chosen
        taken = set(chosen)
        groups = [group for group in groups if group not in taken]
    parts["train"] += groups


def _read_split(file: Path, names: Sequence[str], reading: Reading) -> dict[str, list[int]]:
    """Return the indices of the images by split, as a file has them."""
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    try:
        with file.open(encoding="utf-8", newline="") as table:
            written = {row["file"]: row["split"] for row in csv.DictReader(table)}
        for index, name in enumerate(names):
            if name in written:
                parts[written[name]].append(index)
            else:
                reading.leave_out("images", f"not in {file}", name)
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise UsageError(
            f"data.split_file={file} cannot be read: {type(error).__name__}: {error}.\n"
            "It is the split.csv of a run. To split anew: data.split_file=null; images that a "
            "model was trained on may then be tested."
        ) from error
    if not parts["train"] and not parts["val"]:
        raise UsageError(
            f"data.split_file={file} has none of the {len(names)} images: {', '.join(names[:1])}.\n"
            "It belongs to other data. To split these images: data.split_file=null"
        )
    missing = sorted(written.keys() - set(names))
    if missing:
        images = number_of(len(missing), "images")
        reading.note(f"{file} names {images} that the data do not have, such as {missing[0]}.")
    return parts
