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
from .files import relative_names
# ~ if cookiecutter.scope == "complete"
from .reading_summary import Reading, number_of
from .text_files import read_lines

# ~ else
from .reading_summary import Reading, number_of

# ~ endif
SPLITS = ("train", "val", "test")
# So many classes that are too small for their share of a split have an image in it nevertheless.
FEW_CLASSES = 10
COPY = re.compile(r"\.rf\.[^/\\]*$")  # the end of the names of Roboflow's copies of an image
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

    Without images for test, the validation images are tested. ``path`` returns the path of an
    image, and ``labels`` the names of the classes in it; a split keeps their frequencies.
    """
    # ~ if cookiecutter.scope == "complete"
    images = without_excluded(images, settings, reading, path)
    # ~ endif
    paths = {split: [*map(str, map(path, part))] for split, part in images.items()}
    note_repeated(paths, reading)
    note_frames(paths, reading)
    test = images.get("test")
    if "val" in images or not isinstance(settings, OwnFolder):
        for name in ("split_by", "split_file"):
            if getattr(settings, name, None) is not None:
                reason = f"data.{name} is for data without splits, but {settings.root} has splits."
                raise UsageError(f"{reason}\nTo use them: data.{name}=null")
        if not test:
            reading.note(f"{settings.root} has no test images: the validation images are tested.")
        return {**images, "test": test or images["val"]}
    reading.join_splits()
    unsplit, file = images["train"], settings.split_file
    reading.new_splits = SPLITS[:2] if test else SPLITS
    if file is None:
        groups = _groups(paths["train"], settings)
        parts = _random_split(groups, [*map(labels, unsplit)], settings, tested=bool(test))
    else:
        parts = _read_split(file, relative_names(paths["train"], settings.root), reading)
        if test and parts["test"]:
            reason = f"of test in {file}, but the data have other images for test"
            first, lost = paths["train"][parts["test"][0]], len(parts["test"])
            reading.leave_out("images", reason, first, split="test", count=lost)
            parts["test"] = []
    chosen = [""] * len(unsplit)  # the split of each image; empty if it is in none
    for split, part in parts.items():
        for index in part:
            chosen[index] = split
    splits: dict[str, list[ImageT]] = {split: [] for split in ("", *SPLITS)}
    for image, split in zip(unsplit, chosen, strict=True):
        splits[split].append(image)
    del splits[""]
    sizes = ", ".join(f"{len(part)} for {split}" for split, part in splits.items() if part)
    count = number_of(sum(map(len, splits.values())), "images")
    source = f" as in {file}" if file else ""
    reading.note(f"{settings.root} has no images for val, so {count} are split{source}: {sizes}.")
    return {**splits, "test": test or splits["test"] or splits["val"]}


# ~ if cookiecutter.scope == "complete"
def without_excluded(
    images: Mapping[str, Sequence[ImageT]],
    settings: DataFolder,
    reading: Reading,
    path: Callable[[ImageT], str | Path],
) -> dict[str, Sequence[ImageT]]:
    """Remove the images that ``data.exclude`` lists from each split, and count them.

    Each line of the file is the path of an image, below ``data.root`` or as an absolute path.
    """
    if settings.exclude is None:
        return dict(images)
    try:
        listed = {*read_lines(settings.exclude)}
    except FileNotFoundError as error:
        raise UsageError(f"data.exclude={settings.exclude}: there is no such file.") from error
    unknown = set(listed)
    remaining: dict[str, Sequence[ImageT]] = {}
    for split, part in images.items():
        chosen = []
        for image, name in zip(part, relative_names(map(path, part), settings.root), strict=True):
            names = {name, str(path(image)), str(Path(path(image)).absolute())} & listed
            unknown -= names
            if names:
                reading.leave_out("images", f"in {settings.exclude}", path(image), split=split)
            else:
                chosen.append(image)
        if part and not chosen:
            raise UsageError(
                f"data.exclude={settings.exclude} lists all images of {split}.\n"
                f"Remove images from this list, so that some remain for {split}."
            )
        remaining[split] = chosen
    if unknown:
        count = number_of(len(unknown), "images")
        reading.note(f"{settings.exclude} lists {count} not in the data, such as {min(unknown)}.")
    return remaining


# ~ endif
def record_split(settings: Settings, datasets: Datasets, run: Run) -> Settings:
    """Write ``split.csv`` into the run folder, unless the data have splits of their own.

    The returned settings name it as ``data.split_file``, so that checkpoints refer to it.
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


def _random_split(
    groups: Sequence[Sequence[int]],
    labels: Sequence[Collection[str]],
    settings: OwnFolder,
    *,
    tested: bool,
) -> dict[str, list[int]]:
    """Split images at random, separately for each class, and return their indices by split.

    A class of fewer groups than splits is only trained on, unless there are no other images for
    val. If many classes are too small for their share of a split, these are split together. No test
    split is made if its share is 0, or if the data have a test split of their own (``tested``).
    """
    train, val, test = settings.split
    shares = {"val": val / (train + val)} if tested else {"val": val, "test": test}
    shares = {split: share for split, share in shares.items() if share}
    strata = _strata(groups, labels)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    rare: list[Sequence[int]] = []
    small = {
        name
        for name, stratum in strata.items()
        if len(stratum) > len(shares)
        and round(min(shares.values(), default=1) * sum(map(len, stratum))) == 0
    }
    if len(small) <= FEW_CLASSES:
        small.clear()
    together, total = list[Sequence[int]](), 0
    for name, stratum in strata.items():
        random.Random(f"{settings.split_seed}/{name}").shuffle(stratum)  # noqa: S311 - no secrets
        if len(stratum) <= len(shares):
            rare += stratum
        elif name in small:  # train has an image of each
            parts["train"] += stratum[0]
            together += stratum[1:]
            total += sum(map(len, stratum))
        else:
            _cut(stratum, shares, parts)
    if together:
        random.Random(settings.split_seed).shuffle(together)  # noqa: S311 - no secrets
        scale = total / sum(map(len, together))
        _cut(together, {split: share * scale for split, share in shares.items()}, parts)
    if parts["val"] or len(rare) <= len(shares):
        parts["train"] += chain.from_iterable(rare)
    else:
        _cut(rare, shares, parts)
    if not parts["val"]:
        count = number_of(len(groups), "groups")
        grouped = f" in {count} (data.split_by)" if len(groups) < len(labels) else ""
        raise UsageError(
            f"Too few images to split into {1 + len(shares)} parts: {len(labels)}{grouped}.\n"
            "Add images, or provide folders or files for the splits."
        )
    return parts


def _strata(
    groups: Sequence[Sequence[int]], labels: Sequence[Collection[str]]
) -> dict[str, list[Sequence[int]]]:
    """Return the groups by class; a group of several classes belongs to the rarest of them."""
    classes = labels
    if len(groups) < len(labels):
        classes = [set().union(*(labels[index] for index in group)) for group in groups]
    counts = Counter(chain.from_iterable(classes))
    strata: defaultdict[str, list[Sequence[int]]] = defaultdict(list)
    for group, present in zip(groups, classes, strict=True):
        if len(present) > 1:
            rarest = min(present, key=lambda label: (counts[label], label))
        else:
            (rarest,) = present or [""]
        strata[rarest].append(group)
    return strata


def _groups(paths: Sequence[str], settings: OwnFolder) -> list[Sequence[int]]:
    """Return the indices of the images that stay together: of a file, or of ``data.split_by``.

    Roboflow's augmented copies of an image, such as ``a_jpg.rf.0f3e.jpg``, stay together, too.
    """
    pattern, keys = settings.split_by, [COPY.sub("", path) for path in paths]
    if pattern is None and len({*keys}) == len(keys):
        return [(index,) for index in range(len(paths))]
    if pattern is not None:
        keys = [_match(name, pattern) for name in relative_names(paths, settings.root)]
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return list(groups.values())


def _match(name: str, pattern: str) -> str:
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


def _cut(
    groups: list[Sequence[int]], shares: Mapping[str, float], parts: dict[str, list[int]]
) -> None:
    """Add the images of groups to the splits, at least a group to each; train gets the rest."""
    total = sum(map(len, groups))
    for position, (split, share) in enumerate(shares.items()):
        missing = max(1, round(share * total))
        limit = len(groups) - (len(shares) - position)  # leaves a group for each later split
        chosen, rest = list[Sequence[int]](), list[Sequence[int]]()
        remaining = iter(groups)
        for group in remaining:
            if len(group) < 2 * missing:  # comes closer to the share
                chosen.append(group)
                missing -= len(group)
            else:
                rest.append(group)
            if missing <= 0 or len(chosen) == limit:
                break
        rest += remaining
        if not chosen:
            chosen = [min(rest, key=len)]
            rest.remove(chosen[0])
        parts[split] += chain.from_iterable(chosen)
        groups = rest
    parts["train"] += chain.from_iterable(groups)


def _read_split(file: Path, names: Sequence[str], reading: Reading) -> dict[str, list[int]]:
    """Return the indices of the images by split, as a ``split.csv`` lists them."""
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    try:
        with file.open(encoding="utf-8", newline="") as table:
            written = {row.get("file", ""): row.get("split", "") for row in csv.DictReader(table)}
        for split in written.values():
            if split not in parts:
                raise ValueError(f"its split {split!r} is not train, val or test")
        for index, name in enumerate(names):
            if name in written:
                parts[written[name]].append(index)
            else:
                reading.leave_out("images", f"not in {file}", name)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(
            f"data.split_file={file} cannot be read: {error}.\n"
            "It is the split.csv of a run. To split anew: data.split_file=null; images that a "
            "model was trained on may then be tested."
        ) from error
    if not parts["train"] and not parts["val"]:
        raise UsageError(
            f"data.split_file={file} has none of the {len(names)} images: {', '.join(names[:1])}.\n"
            "It belongs to other data. To split these images: data.split_file=null"
        )
    if missing := written.keys() - set(names):
        images = number_of(len(missing), "images")
        reading.note(f"{file} names {images} that the data do not have, such as {min(missing)}.")
    return parts
