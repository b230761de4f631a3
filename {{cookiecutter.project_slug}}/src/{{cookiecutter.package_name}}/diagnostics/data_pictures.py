"""Pictures of a data set: classes, sizes, augmented training samples, and images with issues."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

# ~ if cookiecutter.task == "classification"
from ..classification.draw import draw_target
# ~ endif
from ..data.batches import evenly_spaced
from ..data.datamodule import Datasets
from ..data.images import Unreadable
# ~ if cookiecutter.task == "detection"
from ..detection.draw import draw_target
# ~ endif
from ..evaluation.drawing import contact_sheet
from ..run.atomic_files import replacing
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.draw import draw_target
# ~ endif
from .image_checks import COUNTED, KINDS, DataReport

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


def draw_sizes(report: DataReport, path: Path) -> None:
    # ~ if cookiecutter.task == "detection"
    """Draw the width and height of images, and of boxes relative to their image, that differ."""
    # ~ else
    """Draw the width and height of images that differ in size."""
    # ~ endif
    panels = [("images", "pixels", {split: size[:, ::-1] for split, size in report.sizes.items()})]
    # ~ if cookiecutter.task == "detection"
    sides = {split: 100 * side for split, side in report.sides.items()}
    panels.append(("boxes", "% of the image", sides))
    # ~ endif
    # A single size would be a single dot; that of images is printed.
    panels = [
        (title, unit, splits)
        for title, unit, splits in panels
        if len(np.unique(np.concatenate([*splits.values()]), axis=0)) > 1
    ]
    if not panels:
        return
    figure = Figure(figsize=(0.5 + 4.5 * len(panels), 4.5), layout="constrained")
    grid = figure.subplots(ncols=len(panels), squeeze=False)[0]
    for axes, (title, unit, splits) in zip(grid, panels, strict=True):
        for split, sizes in splits.items():
            axes.scatter(*sizes.T, s=8, alpha=0.4, label=f"{split}, {len(sizes)}")
        axes.set(title=title, xlabel=f"width in {unit}", ylabel=f"height in {unit}")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=110)


def draw_augmented(datasets: Datasets, path: Path) -> None:
    """Draw training samples as the model gets them, after random transforms, with their targets."""
    train: Any = datasets.train
    readable = [*evenly_spaced(train, MAX_AUGMENTED)]
    tiles = [draw_target(sample.image, sample.target, datasets.classes) for sample in readable]
    _save_sheet(tiles, [Path(train.names[sample.position]).name for sample in readable], path)


def draw_issues(report: DataReport, datasets: Datasets, path: Path) -> None:
    """Draw the worst readable images with their kinds of issues on one sheet, if there are any."""
    tiles, texts = [], []
    for kind in KINDS:
        for issue in report.issues_of_kind(kind)[:MAX_DRAWN]:
            sample = getattr(datasets, issue.split)[issue.position]
            if not isinstance(sample, Unreadable):
                picture = draw_target(sample.image, sample.target, datasets.classes)
                picture.thumbnail((TILE_SIZE, TILE_SIZE))
                tiles.append(picture)
                texts.append(f"{kind}: {Path(*Path(issue.path).parts[-3:])}")
    _save_sheet(tiles, texts, path)


def _save_sheet(tiles: Sequence[Image.Image], texts: Sequence[str], path: Path) -> None:
    if tiles:
        with replacing(path) as hidden:
            contact_sheet(tiles, texts).save(hidden)
