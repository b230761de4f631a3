"""What a finished run leaves to look at."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from ..data.datamodule import DataModule
from ..run.files import write_json, write_text
from ..run.folder import Run
from ..task import TaskModule, draw_report


def write_report(
    run: Run, metrics: Mapping[str, float], module: TaskModule, datamodule: DataModule
) -> None:
    """Write ``metrics.json``, the task's pictures and, if images were left out, their list."""
    draw_report(module, run.folder)
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
    for path in [*sheets[-1:], *sorted(run.folder.glob("*.png"))]:
        console.print(f"  {path}", soft_wrap=True, markup=False)
