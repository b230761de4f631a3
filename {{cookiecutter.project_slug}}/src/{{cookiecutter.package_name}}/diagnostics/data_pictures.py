"""Pictures of a data set: classes, sizes, augmented training samples, and images with issues."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

# ~ if cookiecutter.task == "classification"
from ..classification.draw import draw_target
# ~ endif
from ..data.datamodule import Datasets
from ..data.images import Unreadable, UnreadableImageError, read_image
# ~ if cookiecutter.task == "detection"
from ..detection.draw import draw_target
# ~ endif
from ..evaluation.drawing import contact_sheet, to_picture
from ..run.atomic_files import replacing
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.draw import draw_target
# ~ endif
from .image_checks import COUNTED, KINDS, DataReport, Issue

MAX_DRAWN = 8  # issues of each kind
MAX_AUGMENTED = 16  # training samples
TILE_SIZE = 256  # pixels of the longer side of an issue


def draw_class_balance(report: DataReport, classes: Sequence[str], path: Path) -> None:
    """Draw the fraction of each class in each split as bars."""
    figure = Figure(figsize=(7, min(2 + 0.3 * len(classes), 24)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(report.counts)
    for place, (split, counts) in enumerate(report.counts.items()):
        rows = np.arange(len(classes)) + place * thickness
        axes.barh(rows, counts / max(counts.sum(), 1), thickness, label=f"{split}, {counts.sum()}")
    centres = np.arange(len(classes)) + 0.4 - thickness / 2
    axes.set_yticks(centres, classes, parse_math=False)  # a name may hold any characters
    axes.set(xlabel=f"fraction of the {COUNTED}")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=110)


def draw_issues(report: DataReport, datasets: Datasets, path: Path) -> None:
    """Draw the worst images with their kinds of issues on one sheet, if there are any."""
    tiles, texts = [], []
    for kind in KINDS:
        for issue in issues_of_kind(report, kind)[:MAX_DRAWN]:
            picture = _picture(issue, datasets)
            if picture is not None:
                picture.thumbnail((TILE_SIZE, TILE_SIZE))
                tiles.append(picture)
                texts.append(f"{kind}: {Path(*Path(issue.path).parts[-3:])}")
    if tiles:
        with replacing(path) as hidden:
            contact_sheet(tiles, texts).save(hidden)


def draw_sizes(report: DataReport, path: Path) -> None:
    # ~ if cookiecutter.task == "detection"
    """Draw the width and the height of each image, and of each box relative to its image."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes, boxes = figure.subplots(ncols=2)
    for split, sides in report.sides.items():
        boxes.scatter(*(100 * sides.T), s=6, alpha=0.4, label=f"{split}, {len(sides)}")
    boxes.set(title="boxes", xlabel="width in % of the image", ylabel="height in % of the image")
    # ~ else
    """Draw the width and the height of each image."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    # ~ endif
    for split, sizes in report.sizes.items():
        height, width = sizes.reshape(-1, 2).T
        axes.scatter(width, height, s=12, alpha=0.4, label=f"{split}, {len(sizes)}")
    different = {*map(tuple, np.concatenate([*report.sizes.values()]).tolist())}
    title = "images" if len(different) != 1 else "images, all {1} x {0}".format(*different.pop())
    axes.set(title=title, xlabel="width in pixels", ylabel="height in pixels")
    for drawn in figure.axes:
        drawn.set(xlim=(0, None), ylim=(0, None))
        drawn.grid(alpha=0.3)
        drawn.legend(frameon=False)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=110)


def draw_augmented(datasets: Datasets, path: Path) -> None:
    """Draw training samples as the model gets them, after random transforms, with their targets."""
    train: Any = datasets.train
    spread = torch.linspace(0, len(train) - 1, min(MAX_AUGMENTED, len(train))).long().tolist()
    samples = [train[index] for index in spread]
    readable = [sample for sample in samples if not isinstance(sample, Unreadable)]
    tiles = [draw_target(sample.image, sample.target, datasets.classes) for sample in readable]
    names = [Path(train.names[sample.position]).name for sample in readable]
    if tiles:
        with replacing(path) as hidden:
            contact_sheet(tiles, names).save(hidden)


def issues_of_kind(report: DataReport, kind: str) -> list[Issue]:
    """Return the issues of a kind, a key of ``KINDS``."""
    return [issue for issue in report.issues if issue.kind == kind]


def _picture(issue: Issue, datasets: Datasets) -> Image.Image | None:
    """Return the image with its annotations if they can be read; None for an unreadable image."""
    dataset: Any = getattr(datasets, issue.split)
    sample = dataset[issue.position]
    if not isinstance(sample, Unreadable):
        return draw_target(sample.image, sample.target, datasets.classes)
    try:
        return to_picture(read_image(issue.path, dataset.images.pixels))
    except UnreadableImageError:
        return None
