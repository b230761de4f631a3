"""Check every image of a data set: unreadable files, repeated images, suspicious annotations."""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track
from torch.utils.data import DataLoader

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import target_labels
from ..data.datamodule import Datasets, usable_workers
from ..data.images import Unreadable

# ~ elif cookiecutter.task == "segmentation"
from ..data.datamodule import Datasets, usable_workers
from ..data.images import Unreadable
from ..segmentation.masks import IGNORE_INDEX

# ~ else
from ..data.datamodule import Datasets, usable_workers
from ..data.images import Unreadable

# ~ endif
# The kinds of issues, the worst first, with the message for their number.
KINDS = {
    "leak": "Images in several splits: {}. Scores will be too good; keep each image in one split.",
    "unreadable": "Unreadable images: {}. Repair or remove them, or set data.skip_unreadable=true.",
    "annotation": "Suspicious annotations: {}.",
    "duplicate": "Images that are repeated in their split: {}. Keep one of each.",
}
# ~ if cookiecutter.task == "classification"
COUNTED = "images"  # what is counted for each class


# ~ elif cookiecutter.task == "detection"
COUNTED = "objects"  # what is counted for each class
MIN_SIDE = 2  # pixels; a box with a shorter side is probably a mistake


# ~ elif cookiecutter.task == "segmentation"
COUNTED = "pixels"  # what is counted for each class


# ~ endif
class Issue(NamedTuple):
    """A problem of an image or of its annotations."""

    kind: str  # a key of KINDS
    split: str
    position: int  # index of the image in its split
    path: str
    reason: str


@dataclass
class DataReport:
    """The issues of a data set and its statistics by split."""

    images: dict[str, int] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)  # int64 [classes]
    issues: list[Issue] = field(default_factory=list)  # the worst first


def check_data(datasets: Datasets, *, progress: bool) -> DataReport:
    """Read every image once without transforms, and return the issues and the statistics.

    The transforms of ``datasets`` are replaced by ``identity`` for good. A test split that equals
    the validation split is not read again.
    """
    report = DataReport()
    first_places: dict[bytes, tuple[str, str]] = {}  # split and path, by the digest of the pixels
    same = np.array_equal(datasets.test.paths, datasets.val.paths)  # type: ignore[attr-defined]
    for split in ("train", "val") if same else ("train", "val", "test"):
        dataset: Any = getattr(datasets, split)
        dataset.transform = identity
        check = partial(_check_sample, dataset, len(datasets.classes))
        loader = DataLoader(
            dataset, batch_size=None, num_workers=usable_workers(), collate_fn=check
        )
        counts = np.zeros(len(datasets.classes), dtype=np.int64)
        shown = track(loader, f"Checking {split}", total=len(dataset), disable=not progress)
        for position, (digest, image_counts, issues) in enumerate(shown):
            path = str(dataset.paths[position])
            if digest in first_places:
                first_split, first_path = first_places[digest]
                kind = "duplicate" if first_split == split else "leak"
                issues.append((kind, f"the same pixels as {first_path}"))
            elif digest:
                first_places[digest] = (split, path)
            report.issues += [Issue(kind, split, position, path, text) for kind, text in issues]
            counts += image_counts
        report.images[split], report.counts[split] = len(dataset), counts
    report.issues.sort(key=lambda issue: list(KINDS).index(issue.kind))
    return report


def identity(*parts: Any) -> Any:
    """A transform that changes nothing: takes an image, or an image and its target."""
    return parts if len(parts) > 1 else parts[0]


def _check_sample(
    dataset: Any, classes: int, sample: Any
) -> tuple[bytes, np.ndarray, list[tuple[str, str]]]:
    """Return a digest of the pixels, the counts by class, and the kind and reason of each issue.

    The loader's worker calls this function, so that no pixels are sent between processes. The
    digest of an unreadable image is empty.
    """
    if isinstance(sample, Unreadable):
        reason = f"{sample.path}: {sample.reason}"
        return b"", np.zeros(classes, dtype=np.int64), [("unreadable", reason)]
    counts, problems = _check_annotations(dataset, classes, sample)
    pixels = sample.image.contiguous().numpy()
    digest = hashlib.blake2b(pixels.tobytes() + str(pixels.shape).encode(), digest_size=16).digest()
    return digest, counts, [("annotation", problem) for problem in problems]


# ~ if cookiecutter.task == "classification"
def _check_annotations(_dataset: Any, classes: int, sample: Any) -> tuple[np.ndarray, list[str]]:
    """Count the image for each of its classes: int64 array [classes], and no problems."""
    labels = np.array(target_labels(sample.target), dtype=np.int64)
    return np.bincount(labels, minlength=classes), []
# ~ elif cookiecutter.task == "detection"
def _check_annotations(dataset: Any, classes: int, sample: Any) -> tuple[np.ndarray, list[str]]:
    """Count the objects by class, int64 array [classes], and describe implausible boxes."""
    boxes, labels = sample.target.boxes.numpy(), sample.target.labels.numpy()
    problems = list(dataset.faults.get(sample.position, ()))
    height, width = sample.image.shape[1:]
    sides = (boxes[:, 2:] - boxes[:, :2]) * (width, height)
    for index, (across, down) in enumerate(sides.round(1).tolist()):
        if min(across, down) < MIN_SIDE:
            problems.append(f"box {index} is {across:g} x {down:g} pixels")
    rows = np.column_stack([labels, boxes])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    if repeated:
        problems.append(f"repeated boxes of the same class: {repeated}")
    return np.bincount(labels, minlength=classes), problems
# ~ elif cookiecutter.task == "segmentation"
def _check_annotations(_dataset: Any, classes: int, sample: Any) -> tuple[np.ndarray, list[str]]:
    """Count the pixels by class, int64 array [classes], and report a mask without labels."""
    counts = np.bincount(sample.target.numpy().ravel(), minlength=IGNORE_INDEX + 1)
    labelled = counts[:IGNORE_INDEX].sum()
    return counts[:classes], [] if labelled else ["nothing is labelled in its mask"]
# ~ endif
