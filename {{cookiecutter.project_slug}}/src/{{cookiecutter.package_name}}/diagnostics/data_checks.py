"""Look at every image of a data set: can it be read, is it there twice, what is in it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.datamodule import Datasets, SizedDataset
from ..data.images import Unreadable

SPLITS = ("train", "val", "test")
# What may be wrong, the worst first, and what to do.
KINDS = {
    "leak": "are in another split, too: scores will be too good. Keep each in one split.",
    "unreadable": "cannot be used. Repair or remove them, or train with data.skip_unreadable=true",
    "annotation": "have annotations to look at.",
    "duplicate": "are in their split twice. Keep one of each.",
}

Examine = Callable[[Any, int, Any, int], tuple[np.ndarray, list[str]]]


class Facts(NamedTuple):
    """What is known of one image."""

    digest: bytes  # of its pixels; empty if it cannot be used
    counts: np.ndarray | None  # int64 [classes]
    problems: list[str]
    unreadable: str  # why, if it is


class Find(NamedTuple):
    """Something to look at."""

    kind: str
    split: str
    position: int  # in the split
    path: str
    reason: str


@dataclass
class Findings:
    """What is wrong with a data set, and how often there is what."""

    images: dict[str, int] = field(default_factory=dict)  # by split
    counts: dict[str, np.ndarray] = field(default_factory=dict)  # int64 [classes], by split
    finds: list[Find] = field(default_factory=list)  # the worst first


class _Examined(Dataset[Facts]):
    """A split as facts, so that a loader's workers find them."""

    def __init__(self, split: SizedDataset, examine: Examine, classes: int) -> None:
        self.split = split
        self.examine = examine
        self.classes = classes

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Facts:
        sample = self.split[index]
        if isinstance(sample, Unreadable):
            return Facts(b"", None, [], f"{sample.path}: {sample.reason}")
        counts, problems = self.examine(self.split, index, sample, self.classes)
        return Facts(_digest(sample.image), counts, problems, "")


def _digest(image: Tensor) -> bytes:
    pixels = image.contiguous().numpy()
    return hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=16).digest()


def untouched(*parts: Any) -> Any:
    """In place of a transform: image, or image and target, as they are in the files."""
    return parts if len(parts) > 1 else parts[0]


def check_data(datasets: Datasets, examine: Examine, *, workers: int, progress: bool) -> Findings:
    """Read all images once.

    Args:
        datasets: their transforms are replaced.
        examine: counts what is in a sample, and says what is wrong with it.
        workers: processes that read.
        progress: whether to show a bar.
    """
    findings = Findings()
    seen: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for name in _different(datasets):
        split: Any = getattr(datasets, name)
        split.transform = untouched
        examined = _Examined(split, examine, len(datasets.classes))
        loader = DataLoader(examined, batch_size=None, num_workers=workers, collate_fn=untouched)
        counts = np.zeros(len(datasets.classes), dtype=np.int64)
        shown = track(loader, f"Looking at {name}", total=len(split), disable=not progress)
        for index, facts in enumerate(shown):
            path = str(split.paths[index])
            if facts.unreadable:
                findings.finds.append(Find("unreadable", name, index, path, facts.unreadable))
                continue
            counts += facts.counts
            seen[facts.digest].append((name, index))
            findings.finds += [
                Find("annotation", name, index, path, text) for text in facts.problems
            ]
        findings.images[name] = len(split)
        findings.counts[name] = counts
    findings.finds += _repeated(seen, datasets)
    findings.finds.sort(key=lambda find: list(KINDS).index(find.kind))
    return findings


def _different(datasets: Datasets) -> list[str]:
    """The splits, without a test split that is the validation split once more."""
    same = list(datasets.test.paths) == list(datasets.val.paths)  # type: ignore[attr-defined]
    return list(SPLITS[:2] if same else SPLITS)


def _repeated(seen: dict[bytes, list[tuple[str, int]]], datasets: Datasets) -> list[Find]:
    finds = []
    for places in seen.values():
        first, *others = places
        for name, index in others:
            paths = [str(getattr(datasets, one).paths[at]) for one, at in (first, (name, index))]
            kind = "duplicate" if name == first[0] else "leak"
            finds.append(Find(kind, name, index, paths[1], f"the same pixels as {paths[0]}"))
    return finds


def missing_classes(findings: Findings, classes: Sequence[str]) -> dict[str, list[str]]:
    """The classes that a split has none of, by split."""
    return {
        split: [name for name, count in zip(classes, counts, strict=True) if not count]
        for split, counts in findings.counts.items()
        if not counts.all()
    }
