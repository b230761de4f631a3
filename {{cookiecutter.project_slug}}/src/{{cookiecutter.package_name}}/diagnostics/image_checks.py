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
# ~ endif
from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.image_formats import is_transparent
from ..data.images import RGB, Unreadable
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.class_list import IGNORE_INDEX
# ~ endif
from ..settings.data import PixelFormat

# What is counted for each class.
# ~ if cookiecutter.task == "classification"
COUNTED = "images"
# ~ elif cookiecutter.task == "detection"
COUNTED = "objects"
MIN_SIDE = 2  # pixels; a box with a shorter side is probably a mistake
# ~ elif cookiecutter.task == "segmentation"
COUNTED = "pixels"
# ~ endif
# The kinds of issues, the worst first, with the message for their number.
KINDS = {
    "leak": "Images in several splits: {}. Scores will be too good; keep each image in one split.",
    "contradiction": "Identical images with different annotations: {}. Keep one correct copy.",
    "unreadable": "Unreadable images: {}. Repair or remove them, or set data.skip_unreadable=true.",
    "annotation": "Suspicious annotations: {}. Correct them, or leave these images out.",
    "transparent": "Images that are read as white: {}. Remove them if they are a mistake.",
    "duplicate": "Images that are repeated in their split: {}. Keep one of each.",
}


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

    counts: np.ndarray  # int64 [classes]
    problems: list[str]
    size: tuple[int, int] | None = None  # height and width; None for an unreadable image
    # ~ if cookiecutter.task == "detection"
    sides: np.ndarray = np.empty((0, 2), dtype=np.float32)  # relative width and height of boxes
    # ~ endif
    pixels: bytes = b""  # a digest
    annotations: bytes = b""  # a digest


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

    def issues_of_kind(self, kind: str) -> list[Issue]:
        """Return the issues of a kind, a key of ``KINDS``."""
        return [issue for issue in self.issues if issue.kind == kind]


def check_data(datasets: Datasets, *, progress: bool, pixels: PixelFormat = RGB) -> DataReport:
    """Read every image once without transforms, and return the issues and the statistics.

    The transforms of ``datasets`` remain replaced by ``identity``. A test split that equals the
    validation split is not read again.
    """
    report = DataReport()
    known: dict[bytes, tuple[str, str, bytes]] = {}  # split, path and annotations by pixels
    same = np.array_equal(datasets.test.paths, datasets.val.paths)
    for split in ("train", "val") if same else ("train", "val", "test"):
        dataset: Any = getattr(datasets, split)
        dataset.transform = identity
        # ~ if cookiecutter.task == "segmentation"
        masks = datasets.mask_checks.get(split)
        headers = masks and masks.headers
        # ~ endif
        loader = DataLoader(
            dataset,
            batch_size=None,
            num_workers=min(usable_cpus(), MAX_WORKERS),
            # The workers of the loader check the images, so that no pixels are sent.
            collate_fn=partial(_check_sample, len(datasets.classes)),
        )
        images: list[CheckedImage] = []
        shown = track(loader, f"Checking {split}", total=len(dataset), disable=not progress)
        for position, image in enumerate(shown):
            path = str(dataset.paths[position])
            images.append(image)
            if image.size:
                place = (split, path, image.annotations)
                first = known.setdefault(image.pixels, place)
                if first is not place:
                    report.issues += _repetitions(first, image, split, position, path)
            # ~ if cookiecutter.task == "detection"
            faults = dataset.faults.get(position, ()) if image.size else ()
            report.issues += [Issue("annotation", split, position, path, text) for text in faults]
            # ~ elif cookiecutter.task == "segmentation"
            if headers and (doubt := headers.read(*dataset.images.source(position)[0])):
                report.issues.append(Issue("annotation", split, position, path, doubt))
            # ~ endif
            if is_transparent(path, pixels):
                reason = "all its pixels are transparent"
                report.issues.append(Issue("transparent", split, position, path, reason))
            kind = "annotation" if image.size else "unreadable"
            report.issues += [Issue(kind, split, position, path, text) for text in image.problems]
        # ~ if cookiecutter.task == "segmentation"
        if headers and (conflict := headers.conflict()):
            first, other = conflict
            position = dataset.masks.paths.tolist().index(other)
            reason = f"the palette of its mask differs from that of {first}"
            path = str(dataset.paths[position])
            report.issues.append(Issue("annotation", split, position, path, reason))
        # ~ endif
        report.images[split] = len(dataset)
        report.counts[split] = np.sum([image.counts for image in images], axis=0)
        sizes = [image.size for image in images if image.size]
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


def _digest(array: np.ndarray) -> bytes:
    content = array.tobytes() + str(array.shape).encode()
    return hashlib.blake2b(content, digest_size=16).digest()


def _check_sample(classes: int, sample: Any) -> CheckedImage:
    if isinstance(sample, Unreadable):
        counts = np.zeros(classes, dtype=np.int64)
        return CheckedImage(counts, [f"{sample.path}: {sample.reason}"])
    height, width = sample.image.shape[1:]
    # ~ if cookiecutter.task == "classification"
    annotations = np.array(target_labels(sample.target), dtype=np.int64)
    counts = np.bincount(annotations, minlength=classes)
    problems: list[str] = []
    # ~ elif cookiecutter.task == "detection"
    boxes, labels = sample.target.boxes.numpy(), sample.target.labels.numpy()
    counts = np.bincount(labels, minlength=classes)
    annotations = np.column_stack([labels, boxes])
    annotations = annotations[np.lexsort(annotations.T)]  # in any order
    problems = []
    sides = boxes[:, 2:] - boxes[:, :2]
    for index, (across, down) in enumerate((sides * (width, height)).round(1).tolist()):
        if min(across, down) < MIN_SIDE:
            problems.append(f"box {index} is {across:g} x {down:g} pixels")
    # ~ elif cookiecutter.task == "segmentation"
    annotations = sample.target.numpy()
    pixels_by_id = np.bincount(annotations.ravel(), minlength=IGNORE_INDEX + 1)
    counts = pixels_by_id[:classes]
    labelled = pixels_by_id[:IGNORE_INDEX].sum()
    problems = [] if labelled else ["nothing is labelled in its mask"]
    # ~ endif
    digests = _digest(sample.image.contiguous().numpy()), _digest(annotations)
    # ~ if cookiecutter.task == "detection"
    return CheckedImage(counts, problems, (height, width), sides, *digests)
    # ~ else
    return CheckedImage(counts, problems, (height, width), *digests)
    # ~ endif
