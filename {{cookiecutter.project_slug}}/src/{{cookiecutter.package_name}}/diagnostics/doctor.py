"""The command ``doctor``: check the data, and find the setting that limits the speed."""

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.console import Console
from rich.table import Table

from ..data.datamodule import Datasets
from ..data.images import Unreadable, UnreadableImageError, read_image
from ..data.value_range import with_value_range
from ..evaluation.drawing import contact_sheet, to_picture
from ..run.files import replacing, write_json
from ..run.folder import Run
from ..task import build_datasets, draw_target
from .bench import measure_rates
from .data_checks import COUNTED, KINDS, DataReport, Issue, check_data
from .profiling import Machine, advice, time_stages
from .settings import BenchSettings

MAX_PRINTED = 5  # issues of each kind; doctor.json lists all
MAX_DRAWN = 8  # issues of each kind
RARE_RATIO = 20  # a class is rare if the most frequent one has more than 20 times as many examples
TILE_SIZE = 256  # pixels


def run_doctor(settings: BenchSettings, run: Run) -> None:
    """Check the data, time the stages of a training, and write ``doctor.json`` and pictures.

    Raises:
        UsageError: for data that cannot be read at all, or several processes.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    datasets = build_datasets(settings.data)
    settings = with_value_range(settings, datasets)
    classes = list(datasets.classes)
    report = check_data(datasets, progress=settings.trainer.progress)
    _print_report(report, classes, console)
    _draw_class_balance(report, classes, run.folder / "class_balance.png")
    _draw_issues(report, datasets, run.folder / "issues.png")
    # Built again because the checks replace the transforms. Unreadable images have been reported.
    datasets = build_datasets(settings.data)
    data = settings.data.model_copy(update={"skip_unreadable": True})
    rates = measure_rates(datasets, settings.model_copy(update={"data": data}), run)
    stages = time_stages(datasets, settings, rates)
    table = Table("stage of one image, in one process", "ms")
    for stage, milliseconds in stages.items():
        table.add_row(stage, f"{milliseconds:.2f}")
    console.print(table)
    sentence = advice(stages, rates, settings, Machine.here())
    console.print(f"{sentence}\n")
    content = {
        "images": report.images,
        f"{COUNTED}_by_class": {
            split: dict(zip(classes, counts.tolist(), strict=True))
            for split, counts in report.counts.items()
        },
        "issues": [issue._asdict() for issue in report.issues],
        "milliseconds": stages,
        "rates": rates,
        "advice": sentence,
    }
    write_json(run.folder / "doctor.json", content)
    for name in ("issues.png", "class_balance.png", "doctor.json"):
        if (run.folder / name).is_file():
            console.print(f"  {run.folder / name}")


def _print_report(report: DataReport, classes: Sequence[str], console: Console) -> None:
    sizes = ", ".join(f"{split} {count}" for split, count in report.images.items())
    console.print(f"\nImages: {sizes}")
    for kind, count in Counter(issue.kind for issue in report.issues).items():
        console.print(f"\n{KINDS[kind].format(count)}")
        for issue in _of_kind(report, kind)[:MAX_PRINTED]:
            # The reason why an image is unreadable starts with a path already.
            path = "" if kind == "unreadable" else f"{issue.path}: "
            console.print(f"  {path}{issue.reason}")
    if not report.issues:
        console.print("Nothing is unreadable, repeated, in two splits or strangely annotated.\n")
    for split, counts in report.counts.items():
        missing = [name for name, count in zip(classes, counts, strict=True) if not count]
        if missing:
            console.print(f"\n{split} has no {', no '.join(missing)}.")
    counts = report.counts["train"]
    rarest, largest = int(counts.argmin()), int(counts.argmax())
    if 0 < counts[rarest] * RARE_RATIO < counts[largest]:
        console.print(
            f"\ntrain has {counts[largest]} {COUNTED} of {classes[largest]}, but "
            f"{counts[rarest]} of {classes[rarest]}."
        )


def _draw_class_balance(report: DataReport, classes: Sequence[str], path: Path) -> None:
    """Draw the share of each class in each split as bars."""
    figure = Figure(figsize=(7, min(2 + 0.3 * len(classes), 24)), layout="constrained")
    axes = figure.subplots()
    thickness = 0.8 / len(report.counts)
    for place, (split, counts) in enumerate(report.counts.items()):
        rows = np.arange(len(classes)) + place * thickness
        axes.barh(rows, counts / max(counts.sum(), 1), thickness, label=f"{split}, {counts.sum()}")
    axes.set_yticks(np.arange(len(classes)) + 0.4 - thickness / 2, classes)
    axes.set(xlabel=f"share of the {COUNTED}")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=110)


def _draw_issues(report: DataReport, datasets: Datasets, path: Path) -> None:
    """Draw the worst images with their issues on one sheet, if there are any."""
    tiles = []
    for kind in KINDS:
        for issue in _of_kind(report, kind)[:MAX_DRAWN]:
            picture = _picture(issue, datasets)
            if picture is not None:
                text = f"{kind}: {issue.path}: {issue.reason}"
                tiles.append(_tile(picture, text.replace(f"{Path(issue.path).parents[2]}/", "")))
    if tiles:
        with replacing(path) as hidden:
            contact_sheet(tiles).save(hidden)


def _of_kind(report: DataReport, kind: str) -> list[Issue]:
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


def _tile(picture: Image.Image, text: str) -> Image.Image:
    """Return the picture in a square with up to three lines of text below."""
    size = (TILE_SIZE, TILE_SIZE)
    tile = Image.new("RGB", (TILE_SIZE, TILE_SIZE + 52), "#24292f")
    tile.paste(ImageOps.pad(picture, size, color="#24292f"))
    lines = textwrap.wrap(text, width=42)[:3]
    font = ImageFont.load_default(12)
    ImageDraw.Draw(tile).multiline_text((4, TILE_SIZE + 2), "\n".join(lines), "white", font)
    return tile
