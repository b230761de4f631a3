"""Say what is wrong with the data, and what holds training back."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from ..data.datamodule import usable_workers
from ..run.files import write_json
from ..run.folder import Run
from ..task import COUNTED, build_datasets, examine
from .bench import measure
from .data_checks import KINDS, Findings, check_data, missing_classes
from .data_report import draw_balance, draw_finds
from .profiling import Machine, advice, time_stages
from .settings import BenchSettings

SHOWN = 5  # finds of a kind in the terminal; doctor.json has all
RARE = 20  # times fewer than the most frequent class


def run_doctor(settings: BenchSettings, run: Run) -> None:
    """Check the data, time the stages of a training, and write ``doctor.json`` and pictures.

    Raises:
        UsageError: for data that cannot be read at all, or several processes.
    """
    console = Console()
    datasets = build_datasets(settings.data)
    classes = list(datasets.classes)
    findings = check_data(
        datasets, examine, workers=usable_workers(), progress=settings.trainer.progress
    )
    _tell_data(findings, classes, console)
    draw_balance(findings, classes, COUNTED, run.folder / "class_balance.png")
    draw_finds(findings.finds, datasets, run.folder / "finds.png")
    # Anew: the transforms were taken out, and what is unreadable is known by now.
    datasets = build_datasets(settings.data)
    data = settings.data.model_copy(update={"skip_unreadable": True})
    rates = measure(datasets, settings.model_copy(update={"data": data}), run)
    stages = time_stages(datasets, settings, rates)
    sentence = advice(stages, rates, settings, Machine.here())
    table = Table("for one image, in one process", "ms")
    for name, milliseconds in stages.items():
        table.add_row(name, f"{milliseconds:.2f}")
    console.print(table)
    console.print(f"{sentence}\n", soft_wrap=True, highlight=False)
    write_json(
        run.folder / "doctor.json",
        {
            "images": findings.images,
            f"{COUNTED}_by_class": {
                split: dict(zip(classes, counts.tolist(), strict=True))
                for split, counts in findings.counts.items()
            },
            "finds": [find._asdict() for find in findings.finds],
            "milliseconds": stages,
            "rates": rates,
            "advice": sentence,
        },
    )
    for name in ("finds.png", "class_balance.png", "doctor.json"):
        if (run.folder / name).is_file():
            console.print(f"  {run.folder / name}", soft_wrap=True, markup=False)


def _tell_data(findings: Findings, classes: list[str], console: Console) -> None:
    sizes = ", ".join(f"{split} {count}" for split, count in findings.images.items())
    console.print(f"\nImages: {sizes}", highlight=False)
    of_kind = Counter(find.kind for find in findings.finds)
    for kind, count in of_kind.items():
        console.print(f"\n{count} {KINDS[kind]}", highlight=False, soft_wrap=True)
        for find in [one for one in findings.finds if one.kind == kind][:SHOWN]:
            line = find.reason if find.kind == "unreadable" else f"{find.path}: {find.reason}"
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for split, names in missing_classes(findings, classes).items():
        console.print(f"\n{split} has no {', no '.join(names)}.", highlight=False, soft_wrap=True)
    counts = findings.counts["train"]
    rarest, most = int(counts.argmin()), int(counts.argmax())
    if 0 < counts[rarest] * RARE < counts[most]:
        console.print(
            f"\ntrain has {counts[most]} {COUNTED} of {classes[most]}, but {counts[rarest]} of "
            f"{classes[rarest]}.",
            highlight=False,
            soft_wrap=True,
        )
    if not findings.finds:
        console.print("Nothing unreadable, nothing twice, nothing in two splits.\n")
