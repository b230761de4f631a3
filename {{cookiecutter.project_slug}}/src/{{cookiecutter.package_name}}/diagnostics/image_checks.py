"""Check every image of a data set: unreadable files, repeated images, suspicious annotations."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track
from torch.utils.data import DataLoader

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import target_labels
from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.images import Unreadable

# ~ elif cookiecutter.task == "segmentation"
from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.images import Unreadable
from ..segmentation.masks import IGNORE_INDEX

# ~ else
from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.images import Unreadable

# ~ endif
# The kinds of issues, the worst first, with the message for their number.
KINDS = {
    "leak": "Images in several splits: {}. Scores will be too good; keep each image in one split.",
    "contradiction": "Identical images with different annotations: {}. Keep one correct copy.",
    "unreadable": "Unreadable images: {}. Repair or remove them, or set data.skip_unreadable=true.",
    "annotation": "Suspicious annotations: {}. Correct them, or leave these images out.",
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
    same: str = ""  # the path of an earlier image with the same pixels


class CheckedImage(NamedTuple):
    """The facts about an image and its annotations."""

    pixels: bytes  # a digest, which is empty for an unreadable image
    annotations: bytes
    size: tuple[int, int]  # height and width
    counts: np.ndarray  # int64 [classes]
    # ~ if cookiecutter.task == "detection"
    sides: np.ndarray  # float32 [N, 2], width and height of each box, relative to the image
    # ~ endif
    issues: list[tuple[str, str]]  # kind and reason


@dataclass
class DataReport:
    """The issues of a data set and its statistics by split."""

    images: dict[str, int] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)  # int64 [classes]
    sizes: dict[str, np.ndarray] = field(default_factory=dict)  # int64 [N, 2], height and width
    # ~ if cookiecutter.task == "detection"
    sides: dict[str, np.ndarray] = field(default_factory=dict)  # as in CheckedImage
    # ~ endif
    issues: list[Issue] = field(default_factory=list)  # the worst first


def check_data(datasets: Datasets, *, progress: bool) -> DataReport:
    """Read every image once without transforms, and return the issues and the statistics.

    The transforms of ``datasets`` remain replaced by ``identity``. A test split that equals the
    validation split is not read again.
    """
    report = DataReport()
    known: dict[bytes, tuple[str, str, bytes]] = {}  # split, path and annotations by pixels
    same = np.array_equal(datasets.test.paths, datasets.val.paths)  # type: ignore[attr-defined]
    for split in ("train", "val") if same else ("train", "val", "test"):
        dataset: Any = getattr(datasets, split)
        dataset.transform = identity
        check = partial(_check_sample, dataset, len(datasets.classes))
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=min(usable_cpus(), MAX_WORKERS),
            collate_fn=check,
        )
        images: list[CheckedImage] = []
        shown = track(loader, f"Checking {split}", total=len(dataset), disable=not progress)
        for position, image in enumerate(shown):
            path = str(dataset.paths[position])
            images.append(image)
            place = (split, path, image.annotations)
            first = known.setdefault(image.pixels, place)
            if image.pixels and first is not place:
                report.issues += _repetitions(first, image, split, position, path)
            report.issues += [
                Issue(kind, split, position, path, text) for kind, text in image.issues
            ]
        report.images[split] = len(dataset)
        report.counts[split] = np.sum([image.counts for image in images], axis=0)
        sizes = [image.size for image in images if image.pixels]
        report.sizes[split] = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        # ~ if cookiecutter.task == "detection"
        report.sides[split] = np.concatenate([image.sides for image in images])
        # ~ endif
    report.issues.sort(key=lambda issue: list(KINDS).index(issue.kind))
    return report


def _repetitions(
    first: tuple[str, str, bytes], image: CheckedImage, split: str, position: int, path: str
) -> Iterator[Issue]:
    """Yield the issues of an image with the pixels of an earlier image."""
    first_split, first_path, annotations = first
    text = f"the same pixels as {first_path}"
    if annotations != image.annotations:
        different = f"{text}, with other annotations"
        yield Issue("contradiction", split, position, path, different, first_path)
    if first_split != split:
        yield Issue("leak", split, position, path, text, first_path)
    elif annotations == image.annotations:
        yield Issue("duplicate", split, position, path, text, first_path)


def identity(*parts: Any) -> Any:
    """A transform that changes nothing: takes an image, or an image and its target."""
    return parts if len(parts) > 1 else parts[0]


def _check_sample(dataset: Any, classes: int, sample: Any) -> CheckedImage:
    """Return the facts about an image.

    The loader's worker calls this function, so that no pixels are sent between processes.
    """
    # ~ if cookiecutter.task == "detection"
    sides = np.empty((0, 2), dtype=np.float32)
    # ~ endif
    if isinstance(sample, Unreadable):
        counts = np.zeros(classes, dtype=np.int64)
        issues = [("unreadable", f"{sample.path}: {sample.reason}")]
        # ~ if cookiecutter.task == "detection"
        return CheckedImage(b"", b"", (0, 0), counts, sides, issues)
        # ~ else
        return CheckedImage(b"", b"", (0, 0), counts, issues)
        # ~ endif
    counts, problems = _check_annotations(dataset, classes, sample)
    issues = [("annotation", problem) for problem in problems]
    size = (sample.image.shape[1], sample.image.shape[2])
    pixels = _digest(sample.image.contiguous().numpy())
    # ~ if cookiecutter.task == "detection"
    target = sample.target
    rows = np.column_stack([target.labels.numpy(), target.boxes.numpy()])
    boxes = target.boxes.numpy()
    sides = boxes[:, 2:] - boxes[:, :2]
    annotations = _digest(rows[np.lexsort(rows.T)])  # in any order
    return CheckedImage(pixels, annotations, size, counts, sides, issues)


    # ~ else
    return CheckedImage(pixels, _digest(np.asarray(sample.target)), size, counts, issues)


    # ~ endif
def _digest(array: np.ndarray) -> bytes:
    content = array.tobytes() + str(array.shape).encode()
    return hashlib.blake2b(content, digest_size=16).digest()


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
