"""What a finished run leaves to look at."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .classification.draw import draw_confusion
from .classification.module import ClassificationModule
from .data.datamodule import DataModule
from .run import Run, write_json, write_text


def write_report(
    run: Run, metrics: Mapping[str, float], module: ClassificationModule, datamodule: DataModule
) -> None:
    """Write ``metrics.json``, ``confusion_matrix.png`` and, if images were left out, their list."""
    draw_confusion(module.counts, module.classes, run.folder / "confusion_matrix.png")
    skipped = sorted(datamodule.unreadable)
    if skipped:
        write_text(run.folder / "unreadable.txt", "\n".join(skipped) + "\n")
    write_json(run.results, {**metrics, **module.report(), "unreadable_images": len(skipped)})


def print_summary(run: Run, metrics: Mapping[str, float]) -> None:
    """Print the metrics and where to look."""
    console = Console()
    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    unreadable = run.folder / "unreadable.txt"
    if unreadable.is_file():
        count = len(unreadable.read_text(encoding="utf-8").splitlines())
        console.print(
            f"{count} unreadable images were left out: {unreadable}", soft_wrap=True, markup=False
        )
    sheets = sorted((run.folder / "predictions").glob("epoch_*.png"))
    pictures: list[Path] = [
        *sheets[-1:],
        run.folder / "curves.png",
        run.folder / "confusion_matrix.png",
    ]
    for path in pictures:
        if path.is_file():
            console.print(f"  {path}", soft_wrap=True, markup=False)
