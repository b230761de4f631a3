"""Compare runs: the settings that differ between them, and the best score of each."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..data.reading_summary import number_of
from ..evaluation.html_page import image, page, table
from ..run.atomic_files import write_csv, write_text
from ..run.folder import Run, read_metrics
from ..settings.check_settings import flattened
from ..settings.schema import METRICS, MONITOR, monitored

NOT_COMPARED = {"resume", "runs"}  # these settings do not affect the result
PRINTED_RUNS = 20  # results.csv and report.html have all runs
BEST = {"min": min, "max": max}[METRICS[MONITOR]]


@dataclass(frozen=True)
class Result:
    """The settings of a run and its outcome."""

    run: Run
    settings: Mapping[str, object]  # by path, such as optimizer.lr; empty without config.yaml
    monitor: str  # the name of the score
    score: float | None  # the best of all epochs
    state: str  # finished, failed or stopped
    reason: str = ""  # of a failure


def read_result(run: Run) -> Result:
    """Read the settings and the outcome of a run from its folder."""
    settings = flattened(run.settings) if run.settings_file.is_file() else {}
    rows = read_metrics(run.metrics)
    monitor = monitored({name for row in rows for name in row})
    scores = [row[monitor] for row in rows if monitor in row]
    score = BEST(filter(math.isfinite, scores), default=None)
    state, reason = "stopped", ""
    if run.results.is_file():
        state = "finished"
    elif run.failure.is_file():
        state, reason = "failed", " ".join(run.failure.read_text(encoding="utf-8").split())
    return Result(run, settings, monitor, score, state, reason)


def compare(results: Sequence[Result], folder: Path, pictures: Mapping[Path, str]) -> None:
    """Print the runs as a table, the best first; write ``results.csv`` and ``report.html``.

    The report has the PNG files ``pictures`` with their captions.
    """
    sign = 1 if METRICS[MONITOR] == "min" else -1
    ranked = sorted(results, key=lambda run: math.inf if run.score is None else sign * run.score)
    keys = varied_settings(results)
    names = [key.rsplit(".", 1)[-1] for key in keys]
    short = [name if names.count(name) == 1 else key for key, name in zip(keys, names, strict=True)]
    start = ["run", ranked[0].monitor, "state"]
    stored = (_row(result, keys, _stored) for result in ranked)
    write_csv(folder / "results.csv", [*start, *keys, "reason"], stored)
    header, rows = [*start, *short, "reason"], [_row(result, keys, label) for result in ranked]
    sections = [
        ("Runs", table(header, rows)),
        ("Pictures", "\n".join(image(path, caption) for path, caption in pictures.items())),
    ]
    title = f"{number_of(len(results), 'runs')}: {folder.name}"
    write_text(folder / "report.html", page(title, sections))
    _print(header[:-1], rows)
    for result in ranked:
        if result.reason:
            print(f"  {result.run.id}: {result.reason}")
    for path in (folder / "results.csv", folder / "report.html", *pictures):
        print(f"  {path}")


def varied_settings(results: Sequence[Result]) -> list[str]:
    """Return the paths of the settings that some runs lack or that have different values."""
    stored = [result.settings for result in results if result.settings]
    keys = dict.fromkeys(key for settings in stored for key in settings if key not in NOT_COMPARED)
    return [key for key in keys if len({repr(settings.get(key, ...)) for settings in stored}) > 1]


def label(value: object) -> str:
    """Return a value of a setting as a text of at most 24 characters."""
    text = f"{value:.4g}" if isinstance(value, float) else _stored(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _stored(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _row(result: Result, keys: Sequence[str], write: Callable[[object], str]) -> list[object]:
    values = [write(result.settings[key]) if key in result.settings else "" for key in keys]
    return [result.run.id, result.score, result.state, *values, result.reason]


def _print(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a log file has no width
    texts = [
        [run, "" if score is None else f"{score:.4f}", *map(str, cells)]
        for run, score, *cells, _ in rows[:PRINTED_RUNS]
    ]
    # Columns that do not fit beside each other are printed below, so that no word is cut.
    names, *columns = zip(header, *texts, strict=True)
    tables: list[list[Sequence[str]]] = []
    width = 0
    for column in columns:
        needed = 3 + max(map(cell_len, column))  # with its border and padding
        if not tables or width + needed > console.width:
            tables.append([names])
            width = 2 + max(map(cell_len, names))
        tables[-1].append(column)
        width += needed
    for part in tables:
        printed = Table(*(cells[0] for cells in part), show_edge=False)
        for row in list(zip(*part, strict=True))[1:]:
            printed.add_row(*map(escape, row))
        console.print(printed)
    if len(rows) > PRINTED_RUNS:
        print(f"  and {len(rows) - PRINTED_RUNS} more")
