"""The command ``doctor``: check the data, and find the setting that limits the speed."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import build_datasets
# ~ endif
from ..data.check_datasets import check_learnable, check_outside_runs
from ..data.datamodule import Datasets
from ..data.files import relative_names
from ..data.reading_summary import Reading
from ..data.resize import with_image_size
from ..data.value_range import with_value_range
# ~ if cookiecutter.task == "detection"
from ..detection.dataset import build_datasets
# ~ endif
from ..errors import UsageError
from ..run.atomic_files import write_json, write_text
from ..run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.dataset import build_datasets
# ~ endif
from ..settings.data import OwnFolder
from ..settings.schema import Settings
from .bench import measure
from .data_pictures import draw_augmented, draw_class_balance, draw_issues, draw_sizes
from .image_checks import COUNTED, KINDS, DataReport, Issue, check_data
from .settings import DoctorSettings

MAX_PRINTED = 5  # issues of each kind; doctor.json lists all
RARE_RATIO = 10  # a class is rare if the most frequent one has more than 10 times as many examples
# ~ if cookiecutter.task == "classification"
BALANCING = ("data.balance=0.5", "loss.class_weights=balanced")
# ~ elif cookiecutter.task == "detection"
BALANCING = ("data.balance=0.5",)
# ~ elif cookiecutter.task == "segmentation"
BALANCING = ("loss.class_weights=balanced",)
# ~ endif
WRITTEN = ("issues.png", "class_balance.png", "sizes.png", "augmented.png", "exclude.txt")


def run_doctor(settings: DoctorSettings, run: Run, overrides: Sequence[str]) -> None:
    """Check the data, time the stages of a training run, and write ``doctor.json`` and pictures.

    The commands in the advice repeat ``overrides``, the settings on this command line.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    datasets = build_datasets(settings.data)
    settings = with_image_size(settings, datasets)
    settings = with_value_range(settings, datasets)
    classes, reading = list(datasets.classes), datasets.reading
    console.print("\n".join(reading.lines()))
    try:
        check_learnable(reading)
        check_outside_runs(datasets, settings.data.root, settings.runs)
    except UsageError as error:
        console.print(f"\n{error}")
    draw_augmented(datasets, run.folder / "augmented.png")
    # ~ if cookiecutter.task != "classification"
    if settings.data.tiles is not None:  # files are checked, not tiles
        datasets = build_datasets(settings.data.model_copy(update={"tiles": None}))
    # ~ endif
    report = check_data(datasets, progress=settings.trainer.progress, pixels=settings.data.pixels)
    _print_report(report, reading, console)
    for sentence in class_advice(report, classes, settings, datasets, overrides):
        console.print(f"\n{sentence}")
    draw_class_balance(report, classes, run.folder / "class_balance.png")
    draw_sizes(report, run.folder / "sizes.png")
    draw_issues(report, datasets, run.folder / "issues.png")
    if report.issues and isinstance(settings.data, OwnFolder):
        excluded = excluded_images(report.issues, settings.data.root)
        write_text(run.folder / "exclude.txt", excluded)
        command = _train_command(overrides, f"data.exclude={run.folder / 'exclude.txt'}")
        console.print(
            "\nTo leave out the images in exclude.txt, except those in lines that start with #:\n"
            f"  {command}"
        )
    content: dict[str, Any] = {
        "images": report.images,
        f"{COUNTED}_by_class": {
            split: dict(zip(classes, counts.tolist(), strict=True))
            for split, counts in report.counts.items()
        },
        "issues": [issue._asdict() for issue in report.issues],
        "left_out": [asdict(part) for part in reading.left_out],
        "notes": reading.notes,
    }
    # ~ if cookiecutter.task == "segmentation"
    content["ignored_pixels"] = {
        split: int(sizes.reshape(-1, 2).prod(axis=1).sum() - report.counts[split].sum())
        for split, sizes in report.sizes.items()
    }
    # ~ endif
    if settings.steps:
        content |= _time_training(settings, run, console)
    write_json(run.folder / "doctor.json", content)
    for name in (*WRITTEN, "doctor.json"):
        if (run.folder / name).is_file():
            console.print(f"  {run.folder / name}")


def excluded_images(issues: Sequence[Issue], root: Path) -> str:
    """Return the paths of the images that ``data.exclude`` should leave out, one in each line.

    Of all images with the same pixels, one in test is kept, otherwise one in val, otherwise one in
    train; none if their annotations differ. Suspicious annotations and transparent images
    become lines with ``#``.
    """
    repeated: dict[str, list[Issue]] = defaultdict(list)  # by the first image with these pixels
    reasons: dict[str, str] = {}
    for issue in issues:
        if issue.same:
            repeated[issue.same].append(issue)
    for first, others in repeated.items():
        paths = [first, *(issue.path for issue in others)]
        if not any(issue.kind == "contradiction" for issue in others):
            # Leaks are in the order of the splits: train before val before test.
            kept = [first, *(issue.path for issue in others if issue.kind == "leak")][-1]
            paths = [path for path in paths if path != kept]  # a file may be in two splits
        reasons |= dict.fromkeys(paths, "repeated")
    for issue in issues:
        if not issue.same:
            reasons.setdefault(issue.path, issue.kind)
    names = relative_names(reasons, root)
    lines = (
        f"# {name}  {kind}" if kind in {"annotation", "transparent"} else name
        for name, kind in zip(names, reasons.values(), strict=True)
    )
    return "\n".join(lines) + "\n"


def _time_training(settings: DoctorSettings, run: Run, console: Console) -> dict[str, Any]:
    """Time the stages of a training run, print them, and name the setting that limits the speed."""
    # Unreadable images have been reported.
    data = settings.data.model_copy(update={"skip_unreadable": True})
    # The data sets are built again because the checks have replaced the transforms.
    skipping = settings.model_copy(update={"data": data})
    measured = measure(build_datasets(settings.data), skipping, run)
    table = Table("stage of one image that was read before, in one process", "ms")
    for stage, milliseconds in measured["milliseconds"].items():
        table.add_row(stage, f"{milliseconds:.2f}")
    console.print(table)
    console.print(f"{measured['advice']}\n")
    return measured


def _print_report(report: DataReport, reading: Reading, console: Console) -> None:
    pixels = Counter(map(tuple, np.concatenate([*report.sizes.values()]).tolist()))
    if pixels:
        (height, width), count = pixels.most_common(1)[0]
        more = f" for {count}; there are {len(pixels)} sizes" if len(pixels) > 1 else ""
        console.print(f"\nSize of the images: {width} x {height} pixels{more}.")
    for kind, count in Counter(issue.kind for issue in report.issues).items():
        console.print(f"\n{KINDS[kind].format(count)}")
        for issue in report.issues_of_kind(kind)[:MAX_PRINTED]:
            # The reason why an image is unreadable starts with a path already.
            path = "" if kind == "unreadable" else f"{issue.path}: "
            console.print(f"  {path}{issue.reason}")
        if count > MAX_PRINTED:
            console.print(f"  and {count - MAX_PRINTED} more")
    if not report.issues:
        further = "further " if reading.notes else ""
        console.print(
            f"No {further}problems found: all images can be read, none is repeated, and no "
            "annotation is suspicious.\n"
        )


def _train_command(overrides: Sequence[str], word: str) -> str:
    """Return a command that trains with the settings of this one and another, quoted for a shell.

    Settings that only ``doctor`` has, or that ``word`` replaces, are left out.
    """
    replaced = {*DoctorSettings.model_fields} - {*Settings.model_fields}
    replaced.add(word.partition("=")[0])
    given = (other.removeprefix("++") for other in overrides)  # which ``launch`` has added
    kept = (other for other in given if other.partition("=")[0] not in replaced)
    return shlex.join(["uv", "run", "train", *kept, word])


def class_advice(
    report: DataReport,
    classes: Sequence[str],
    settings: DoctorSettings,
    datasets: Datasets,
    overrides: Sequence[str],
) -> Iterator[str]:
    """Yield advice about classes that are missing from a split or rare in the training split."""
    data, other = settings.data, ""
    if datasets.reading.new_splits and isinstance(data, OwnFolder):
        other = f"data.split_seed={data.split_seed + 1}"
        if data.split_file is not None:
            other = "data.split_file=null"
    total, avoidable = np.sum([*report.counts.values()], axis=0), False
    for split, counts in report.counts.items():
        missing = [index for index, count in enumerate(counts) if not count]
        if missing:
            names = ", no ".join(classes[index] for index in missing)
            yield f"{split} has no {names}. Add such images, or choose other splits."
            avoidable |= bool(total[missing].max() >= len(report.counts))
    if other and avoidable:
        yield f"To split the images in another way:\n  {_train_command(overrides, other)}"
    counts = report.counts["train"]
    largest = int(counts.argmax())
    rarest = int(np.where(counts > 0, counts, counts[largest]).argmin())  # of those in train
    if 0 < counts[rarest] * RARE_RATIO < counts[largest]:
        commands = "\n".join(f"  {_train_command(overrides, word)}" for word in BALANCING)
        yield (
            f"train has {counts[largest]} {COUNTED} of {classes[largest]}, but "
            f"{counts[rarest]} of {classes[rarest]}. Add images of {classes[rarest]}, or let "
            f"rare classes count more:\n{commands}"
        )
