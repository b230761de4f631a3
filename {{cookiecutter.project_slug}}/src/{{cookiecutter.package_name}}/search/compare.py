"""Many runs side by side: what differs between them and what came of it."""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..run.files import write_text
from ..run.folder import Run, read_metrics
from ..settings.check import flattened
from ..settings.tree import METRICS, MONITOR
from .plots import draw_scatter, label

NOT_COMPARED = {"resume", "runs"}  # where a run is, not what it does
PRINTED = 20  # runs; results.csv has them all
BEST = {"min": min, "max": max}[METRICS[MONITOR]]


@dataclass(frozen=True)
class Result:
    """What a run was to do, and what came of it."""

    run: Run
    settings: dict[str, object]  # by path; none if the run failed before it had any
    score: float | None  # the best of all epochs, if one has ended
    state: str  # finished, failed or stopped
    reason: str  # of a failure


def compare(runs: Sequence[Run], folder: Path) -> list[Result]:
    """Print a table of runs, and write it and a picture into a folder.

    Args:
        runs: in the order in which they were started; each has ended, in whatever way.
        folder: for ``results.csv`` and ``results.png``.

    Returns:
        The results, the best one first.
    """
    results = [read_result(run) for run in runs]
    keys = differing([result.settings for result in results])
    ranked = sorted(results, key=_rank)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.csv", _csv(ranked, keys))
    draw_scatter(
        [(result.score, result.state) for result in results],
        {
            key: {
                index: result.settings[key]
                for index, result in enumerate(results)
                if key in result.settings
            }
            for key in keys
        },
        folder / "results.png",
        metric=MONITOR,
        best=BEST,
    )
    _show(ranked, keys, folder)
    return ranked


def read_result(run: Run) -> Result:
    """Read what the folder of a run tells."""
    settings = flattened(run.settings) if run.settings_file.is_file() else {}
    scores = [row[MONITOR] for row in read_metrics(run.metrics) if MONITOR in row]
    score = BEST(filter(math.isfinite, scores), default=None)
    if run.results.is_file():
        return Result(run, settings, score, "finished", reason="")
    if run.failure.is_file():
        reason = " ".join(run.failure.read_text(encoding="utf-8").split())
        return Result(run, settings, score, "failed", reason)
    return Result(run, settings, score, "stopped", reason="")


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The paths of what is not the same everywhere, or not everywhere there."""
    some = [one for one in settings if one]
    keys = dict.fromkeys(key for one in some for key in one if key not in NOT_COMPARED)
    return [key for key in keys if len({(key in one, repr(one.get(key))) for one in some}) > 1]


def _rank(result: Result) -> float:
    if result.score is None:
        return math.inf
    return result.score if METRICS[MONITOR] == "min" else -result.score


def _csv(results: Sequence[Result], keys: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", MONITOR, "state", *keys, "reason"])
    for result in results:
        values = [result.settings.get(key, "") for key in keys]
        cells = [value if isinstance(value, str) else json.dumps(value) for value in values]
        writer.writerow([result.run.id, result.score, result.state, *cells, result.reason])
    return text.getvalue()


def _show(results: Sequence[Result], keys: Sequence[str], folder: Path) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a log file's lines may be long
    last = [key.rsplit(".", 1)[-1] for key in keys]
    short = [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]
    table = Table(show_edge=False)
    for heading in ("run", MONITOR, "state", *short):
        table.add_column(heading, overflow="fold", no_wrap=heading in {"run", "state"})
    for result in results[:PRINTED]:
        score = "" if result.score is None else f"{result.score:.4f}"
        values = [label(result.settings[key]) if key in result.settings else "" for key in keys]
        table.add_row(result.run.id, score, result.state, *map(escape, values))
    console.print(table)
    lines = [f"and {len(results) - PRINTED} more"] if len(results) > PRINTED else []
    failed: dict[str, list[str]] = defaultdict(list)
    for result in results:
        if result.reason:
            failed[result.reason].append(result.run.id)
    lines += [f"{', '.join(ids)}: {reason}" for reason, ids in failed.items()]
    for line in [*lines, folder / "results.csv", folder / "results.png"]:
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)
