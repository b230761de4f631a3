"""Split images that come without splits, and repeat a split that a run has written."""

import csv
import logging
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import UsageError
from ..run.files import write_csv
from ..settings.data import OwnFolder

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
Groups = list[list[int]]  # the indices of the images of each group


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


def write_split(file: Path, root: Path, splits: dict[str, Sequence[str]]) -> None:
    """Write ``split.csv``: a row with the path below ``root`` and the split of each image."""
    rows: dict[str, str] = {}
    for split in SPLITS:
        for path in splits[split]:
            rows.setdefault(relative_name(path, root), split)  # the test may repeat val
    write_csv(file, ["file", "split"], rows.items())


def relative_name(path: str | Path, root: Path) -> str:
    """Return the path of an image relative to the data set, with ``/`` on every system."""
    folder = root.parent if root.is_file() else root
    name, prefix = str(path), f"{folder}{os.sep}"
    name = name.removeprefix(prefix) if name.startswith(prefix) else os.path.relpath(name, folder)
    return name.replace(os.sep, "/").encode(errors="backslashreplace").decode()


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
