"""Write the results of a test: ``metrics.json``, figures and ``report.html``."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..data.datamodule import DataModule
from ..data.reading_summary import number_of
from ..run.atomic_files import replacing, write_json, write_text
from ..run.folder import Run, read_metrics
from ..settings.schema import LOSS, METRICS, TASK, model_name
from .drawing import contact_sheet
from .figures import write_figures
from .html_page import image, page, table
# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
from .score_counts import THRESHOLDS, ClassScores, EvaluationResults, best_threshold

# ~ else
from .score_counts import ClassScores, EvaluationResults

# ~ endif
Draw = Callable[[Tensor, Any, Any, Sequence[str]], Image.Image]  # ``draw_prediction`` of the task
TILE_PIXELS = 480  # maximum length of the longer side of a prediction in the report


def write_report(
    run: Run,
    metrics: Mapping[str, float],
    results: EvaluationResults,
    scores: ClassScores,
    datamodule: DataModule,
    draw: Draw,
) -> None:
    """Write the results of a test into the run folder; ``scores`` are the metrics by class."""
    counts, skipped = results.counts, sorted(datamodule.unreadable)
    unreadable = run.folder / "unreadable.txt"
    unreadable.unlink(missing_ok=True)  # of an earlier test
    if skipped:
        write_text(unreadable, "\n".join(skipped) + "\n")
        print(f"Left out: {number_of(len(skipped), 'unreadable images')}, see {unreadable}")
    figures = write_figures(counts, scores, run.folder)
    # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
    best = best_threshold(counts.curves().mean().f1)
    # ~ endif
    sections = [
        ("Run", _facts(run, datamodule, results.images)),
        ("Metrics", _metrics(run, metrics)),
        *(
            (heading, image(run.folder / f"{name}.png", f"All values: {name}.csv"))
            for heading, name in figures.items()
        ),
        *_predictions(run, results, datamodule, draw),
        ("Settings", f"<pre>{html.escape(run.settings_file.read_text(encoding='utf-8'))}</pre>"),
        ("Versions", table([], list(run.record["packages"].items()))),
    ]
    write_text(run.folder / "report.html", page(f"{TASK.capitalize()}: {run.id}", sections))
    content: dict[str, object] = {
        # JSON has no number that is undefined, as a metric without targets is.
        **{name: value if math.isfinite(value) else None for name, value in metrics.items()},
        # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
        "best_threshold": None if best is None else float(THRESHOLDS[best]),
        # ~ endif
        **{
            f"{name}_by_class": dict(zip(counts.classes, values, strict=True))
            for name, values in scores.items()
        },
        "unreadable_images": len(skipped),
    }
    write_json(run.results, content)  # written last, since this file marks a run as finished


def _facts(run: Run, datamodule: DataModule, tested: int) -> str:
    """Return a table of the model, the command, the versions and the data."""
    settings, environment, data = run.settings, run.record, datamodule.datasets
    changed = " with uncommitted changes" if environment["git_dirty"] else ""
    facts = {
        "Model": model_name(settings["model"]),
        "Started": environment["started"],
        "Command": environment["command"],
        **{
            f"Before, {start['started']}": start["command"]
            for start in environment.get("earlier_starts", [])
        },
        "Commit": environment["git_commit"] and environment["git_commit"] + changed,
        "Python": f"{environment['python']} on {environment['platform']}",
        "Data": f"{settings['data']['name']} in {settings['data']['root']}",
        "Images": f"{len(data.train):,} for training, {len(data.val):,} for validation",
        "Tested": f"{tested:,} of {len(data.test):,} images",
        "Left out": number_of(len(datamodule.unreadable), "unreadable images"),
        number_of(len(data.classes), "classes"): ", ".join(data.classes),
    }
    return table([], list(facts.items()))


def _metrics(run: Run, metrics: Mapping[str, float]) -> str:
    """Return a table of the test metrics and of their validation values, and the curves."""
    curves = run.folder / "curves.png"
    if not curves.is_file():  # only `train` writes curves
        return table(["metric", "result"], list(metrics.items()))
    history = read_metrics(run.metrics)
    rows = []
    for name, value in metrics.items():
        key = f"val/{name.split('/', 1)[-1]}"
        scores = [(row[key], int(row["epoch"])) for row in history if key in row]
        choose = min if METRICS.get(key) == "min" else max
        best, epoch = choose(scores, default=(None, None), key=lambda pair: pair[0])
        last = scores[-1][0] if scores else None
        rows.append([name, value, best, epoch, last])
    header = ["metric", "result", "best in validation", "in epoch", "last in validation"]
    return table(header, rows) + image(curves, "Training and validation.")


def _predictions(
    run: Run, results: EvaluationResults, datamodule: DataModule, draw: Draw
) -> list[tuple[str, str]]:
    """Write ``worst_predictions.png`` and ``best_predictions.png``; return their sections."""
    names = cast("Any", datamodule.datasets.test).names
    sections = []
    for name, images in (("worst", results.worst), ("best", results.best)):
        if not images:  # no test image has a target
            continue
        tiles = [
            draw(result.image, result.target, result.prediction, results.counts.classes)
            for result in images
        ]
        with replacing(run.folder / f"{name}_predictions.png") as hidden:
            shown = [Path(names[result.position]).name for result in images]
            contact_sheet(tiles, shown).save(hidden)
        figures = ""
        for result, tile in zip(images, tiles, strict=True):
            tile.thumbnail((TILE_PIXELS, TILE_PIXELS))
            figures += image(tile, f"{names[result.position]}, {LOSS} {result.loss:.3f}")
        heading = f"{name.capitalize()} predictions"
        sections.append((heading, f'<div class="grid">{figures}</div>'))
    return sections


def print_summary(run: Run, metrics: Mapping[str, float], *, advice: str | None = None) -> None:
    """Print the metrics, the path of the report, and advice."""
    console = Console(soft_wrap=True, markup=False)
    rows = Table("metric", "value")
    for name, value in metrics.items():
        rows.add_row(name, f"{value:.4f}")
    console.print(rows)
    console.print(f"  {run.folder / 'report.html'}")
    if advice:
        console.print(advice)
