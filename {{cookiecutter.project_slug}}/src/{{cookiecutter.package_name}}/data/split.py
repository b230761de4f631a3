"""Split images that come without splits, and repeat a split that a run has written."""

import csv
import logging
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..run.files import write_csv
from ..run.folder import Run
from ..run.identity import is_first
from ..settings.data import DataFolder, OwnFolder
from ..settings.tree import Settings
from .datamodule import Datasets

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
UNSPLIT = "unsplit"  # in the place of the splits, where the data have none
Groups = list[list[int]]  # the indices of the images of each group
ImageT = TypeVar("ImageT")


def with_splits(
    images: Mapping[str, Sequence[ImageT]],
    settings: DataFolder,
    *,
    path: Callable[[ImageT], str | Path],
    labels: Callable[[ImageT], Collection[str]],
) -> dict[str, Sequence[ImageT]]:
    """Return the images by split; images of the key ``UNSPLIT`` are split by ``split_images``.

    Args:
        images: the images that a reader has returned, by split or with the key ``UNSPLIT``.
        settings: see ``split_images``.
        path: returns the path of an image.
        labels: returns the names of the classes in an image.

    Raises:
        UsageError: see ``split_images``; and if the data have splits, but a setting is for data
            without splits.
    """
    if not isinstance(settings, OwnFolder):
        return dict(images)
    if UNSPLIT not in images:
        for name in ("split_by", "split_file"):
            if getattr(settings, name) is not None:
                raise UsageError(
                    f"data.{name} is for data without splits, but {settings.root} has splits.\n"
                    f"To use them: data.{name}=null"
                )
        return dict(images)
    unsplit = images[UNSPLIT]
    parts = split_images([*map(path, unsplit)], [*map(labels, unsplit)], settings)
    sizes = ", ".join(f"{len(parts[split])} for {split}" for split in SPLITS)
    log.info("%s has no splits: its %d images are split, %s.", settings.root, len(unsplit), sizes)
    return {split: [unsplit[index] for index in parts[split]] for split in SPLITS}


def split_images(
    paths: Sequence[str | Path], labels: Sequence[Collection[str]], settings: OwnFolder
) -> dict[str, list[int]]:
    """Split images as ``settings.split`` says, or as ``settings.split_file`` has it.

    Args:
        paths: the path of each image.
        labels: the names of the classes in each image; each class gets its share of every split.
        settings: the fractions, the seed, the pattern of groups and the file of an earlier split.

    Returns:
        The indices of the images by split. Without a fraction for the test, or without test images
        in the file, the validation images are tested.

    Raises:
        UsageError: if there are too few images, the pattern does not match an image, or the file of
            the split does not belong to these images.
    """
    names = [relative_name(path, settings.root) for path in paths]
    if settings.split_file:
        parts = _read_split(settings.split_file, names)
    else:
        groups = _group(names, settings.split_by)
        parts = _draw_split(groups, labels, settings)
        _check_sizes(parts, images=len(names), groups=len(groups))
    return {split: sorted(parts[split] or parts["val"]) for split in SPLITS}


def record_split(settings: Settings, datasets: Datasets, run: Run) -> Settings:
    """Write ``split.csv`` into the run folder, unless the data have splits of their own.

    The file has a row with the path below ``data.root`` and the split of each image.

    Returns:
        The settings, which name the file as ``data.split_file``, so that checkpoints refer to it.
    """
    data = settings.data
    if not datasets.unsplit or not isinstance(data, OwnFolder):
        return settings
    if is_first() and data.split_file != run.split:  # a resumed run keeps its file
        rows: dict[str, str] = {}
        for split in SPLITS:
            for path in getattr(datasets, split).paths:
                rows.setdefault(relative_name(path, data.root), split)  # the test may repeat val
        write_csv(run.split, ["file", "split"], rows.items())
    data = data.model_copy(update={"split_file": run.split})
    return settings.model_copy(update={"data": data})


def relative_name(path: str | Path, root: Path) -> str:
    """Return the path of an image relative to the data set, with ``/`` on every system."""
    folder = folder_of(root)
    name, prefix = str(path), f"{folder}{os.sep}"
    name = name.removeprefix(prefix) if name.startswith(prefix) else os.path.relpath(name, folder)
    return name.replace(os.sep, "/").encode(errors="backslashreplace").decode()


def folder_of(root: Path) -> Path:
    """Return the folder of the data set, where ``data.root`` may be the file that describes it."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name == "annotations" else root.parent


def _group(names: Sequence[str], pattern: str | None) -> Groups:
    """Return the images of each group; without a pattern, an image is a group of its own."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        key = name
        if pattern is not None:
            # A pattern with a slash is about folders, any other about the name of the file.
            text = name if "/" in pattern else name.rpartition("/")[2]
            match = re.search(pattern, text)
            found = match and (match[1] if match.re.groups else match[0])
            if found is None:
                raise UsageError(
                    f"data.split_by={pattern} does not match {text}, so its group is not known.\n"
                    "Name a pattern that matches each image, such as data.split_by='^[a-z]+'"
                )
            key = found
        groups[key].append(index)
    return list(groups.values())


def _draw_split(
    groups: Groups, labels: Sequence[Collection[str]], settings: OwnFolder
) -> dict[str, list[int]]:
    """Split the groups at random, separately for each class.

    A group counts for the rarest of its classes. A class of fewer groups than splits is only
    trained on, unless there are no other images for a split.
    """
    classes = [{label for index in group for label in labels[index]} for group in groups]
    counts = Counter(label for present in classes for label in present)
    strata: defaultdict[str, Groups] = defaultdict(list)
    for group, present in zip(groups, classes, strict=True):
        rarest = min(present, key=lambda label: (counts[label], label), default="")
        strata[rarest].append(group)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    rare: Groups = []
    for name, stratum in strata.items():
        random.Random(f"{settings.split_seed}/{name}").shuffle(stratum)  # noqa: S311 - no secrets
        if len(stratum) < _splits(settings):
            rare += stratum
        else:
            _cut(stratum, settings, parts)
    if parts["val"] or len(rare) < _splits(settings):
        parts["train"] += [index for group in rare for index in group]
    else:
        _cut(rare, settings, parts)
    for split in SPLITS[: _splits(settings)]:
        present = {label for index in parts[split] for label in labels[index]}
        if parts["val"] and (absent := sorted(counts.keys() - present)):
            log.warning("The split gives no image of %s to %s.", ", ".join(absent), split)
    return parts


def _splits(settings: OwnFolder) -> int:
    return 3 if settings.split[2] else 2


def _cut(groups: Groups, settings: OwnFolder, parts: dict[str, list[int]]) -> None:
    """Add groups to the splits, at least one to each; the training split gets what remains."""
    images = sum(map(len, groups))
    for position in range(1, _splits(settings)):
        target, size = max(1, round(settings.split[position] * images)), 0
        limit = len(groups) - (_splits(settings) - position)  # leaves a group for each later split
        chosen: Groups = []
        remaining: Groups = []
        for group in groups:
            closer = abs(size + len(group) - target) < abs(size - target)
            if closer and len(chosen) < limit:
                chosen.append(group)
                size += len(group)
            else:
                remaining.append(group)
        if not chosen:  # each group is larger than twice the target
            chosen = [min(remaining, key=len)]
            remaining.remove(chosen[0])
        parts[SPLITS[position]] += [index for group in chosen for index in group]
        groups = remaining
    parts["train"] += [index for group in groups for index in group]


def _check_sizes(parts: dict[str, list[int]], *, images: int, groups: int) -> None:
    if not parts["val"]:
        grouped = f" in {groups} groups (data.split_by)" if groups < images else ""
        raise UsageError(
            f"{images} images{grouped} are too few to split into training, validation and test.\n"
            "Add images, or provide the splits yourself."
        )


def _read_split(file: Path, names: Sequence[str]) -> dict[str, list[int]]:
    try:
        with file.open(encoding="utf-8", newline="") as table:
            written = {row["file"]: row["split"] for row in csv.DictReader(table)}
        parts: dict[str, list[int]] = {split: [] for split in SPLITS}
        new = []
        for index, name in enumerate(names):
            if name in written:
                parts[written[name]].append(index)
            else:
                new.append(name)
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise UsageError(
            f"data.split_file={file} cannot be read: {type(error).__name__}: {error}.\n"
            "It is the split.csv of a run. To split anew: data.split_file=null; images that a "
            "model was trained on may then be tested."
        ) from error
    missing = sorted(written.keys() - set(names))
    if not parts["train"] and not parts["val"]:
        raise UsageError(
            f"data.split_file={file} has none of the {len(names)} images, such as {names[0]}.\n"
            "It belongs to other data. To split these images: data.split_file=null"
        )
    if new:
        log.warning("%d images are not in %s and are left out: %s ...", len(new), file, new[0])
    if missing:
        log.warning("%d images of %s are missing: %s ...", len(missing), file, missing[0])
    return parts
