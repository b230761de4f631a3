"""Compare runs: the settings that differ between them, and the best score of each."""

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from ..data.reading_summary import number_of
from ..evaluation.html_page import image, page, table
from ..run.atomic_files import replacing, write_csv, write_text
from ..run.folder import Run, read_metrics
from ..settings.check_settings import flattened
from ..settings.schema import METRICS, MONITOR, monitored

if TYPE_CHECKING:
    from optuna import Study

mpl.use("Agg")

NOT_COMPARED = {"resume", "runs"}  # these settings do not affect the result
DRAWN_SETTINGS = 8  # more panels in a row cannot be read
MAXIMISED = METRICS[MONITOR] == "max"
WORST = -math.inf if MAXIMISED else math.inf


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
    score = (max if MAXIMISED else min)(filter(math.isfinite, scores), default=None)
    state, reason = "stopped", ""
    if run.results.is_file():
        state = "finished"
    elif run.failure.is_file():
        state, reason = "failed", " ".join(run.failure.read_text(encoding="utf-8").split())
    return Result(run, settings, monitor, score, state, reason)


def compare(results: Sequence[Result], folder: Path, pictures: Mapping[Path, str]) -> None:
    """Print the runs, the best first, and write ``results.csv`` and ``report.html``.

    The report has the PNG files ``pictures`` with their captions.
    """
    ranked = sorted(
        results,
        key=lambda result: WORST if result.score is None else result.score,
        reverse=MAXIMISED,
    )
    keys, monitor = varied_settings(results), ranked[0].monitor
    rows = []
    for result in ranked:
        values = [_cell(result.settings.get(key, "")) for key in keys]
        rows.append([result.run.id, result.score, result.state, *values, result.reason])
    header = ["run", monitor, "state", *keys, "reason"]
    write_csv(folder / "results.csv", header, rows)
    figures = "\n".join(image(path, caption) for path, caption in pictures.items())
    title = f"{number_of(len(results), 'runs')}: {folder.name}"
    sections = [("Runs", table(header, rows)), ("Pictures", figures)]
    write_text(folder / "report.html", page(title, sections))
    for result in ranked:
        score = "" if result.score is None else f"{monitor} {result.score:.4f}  "
        shown = [key for key in keys if key in result.settings]
        words = [f"{key}={_label(result.settings[key])}" for key in shown]
        print(f"  {result.run.id}  {score}{result.state}", *words)
        if result.reason:
            print(f"    {result.reason}")
    for path in (folder / "results.csv", folder / "report.html", *pictures):
        print(f"  {path}")


def varied_settings(results: Sequence[Result]) -> list[str]:
    """Return the paths of the settings that some runs lack or that have different values."""
    stored = [result.settings for result in results if result.settings]
    keys = dict.fromkeys(key for settings in stored for key in settings if key not in NOT_COMPARED)
    return [key for key in keys if len({repr(settings.get(key, ...)) for settings in stored}) > 1]


def draw_scores(results: Sequence[Result], path: Path) -> dict[Path, str]:
    """Draw the best score of each run by each setting that varies; return the file's caption."""
    keys = varied_settings(results)[:DRAWN_SETTINGS] or ["seed"]
    scored = [result for result in results if result.score is not None]
    # A value of a setting may hold any characters.
    with plt.rc_context({"text.parse_math": False, "figure.figsize": (3.5 * len(keys), 4)}):
        _, grid = plt.subplots(1, len(keys), squeeze=False, sharey=True)
        for axes, key in zip(grid[0], keys, strict=True):
            # Matplotlib places texts on an axis in the order of the points.
            points = sorted(scored, key=lambda result: _order(result.settings.get(key)))
            labels = [_label(result.settings.get(key)) for result in points]
            axes.scatter(labels, [result.score for result in points])
            axes.set_xlabel(key)
            axes.tick_params("x", rotation=45)
            axes.grid(alpha=0.3)
        grid[0, 0].set_ylabel(results[0].monitor)
        _save(path)
    return {path: "The best score of each run by each setting that varies"}


def draw_study(study: "Study", folder: Path) -> dict[Path, str]:
    """Draw the finished trials of a study as PNG files in ``folder``; return their captions."""
    from optuna.visualization import matplotlib as optuna_plots  # noqa: PLC0415 - an extra

    plots: list[tuple[Callable[..., object], Path, str]] = [
        (optuna_plots.plot_optimization_history, folder / "results.png", "The score of each trial"),
        (optuna_plots.plot_param_importances, folder / "importances.png", "The effect of settings"),
        (optuna_plots.plot_slice, folder / "slices.png", "The score by the values of settings"),
    ]
    # Optuna warns of plots with few points, and sets a style.
    with warnings.catch_warnings(action="ignore"), plt.rc_context({"figure.figsize": (8, 5)}):
        for plot, path, _ in plots:
            plot(study, target_name=study.user_attrs["settings"]["score"])
            _save(path)
    return {path: caption for _, path, caption in plots}


def _save(path: Path) -> None:
    with replacing(path) as hidden:
        plt.gcf().set_layout_engine("tight")
        plt.savefig(hidden, dpi=110)
    plt.close()


def _cell(value: object) -> str | float:
    return value if isinstance(value, str | float) else json.dumps(value)


def _label(value: object) -> str:
    """Return a value of a setting as a text of at most 24 characters."""
    text = f"{value:.4g}" if isinstance(value, float) else str(_cell(value))
    return text if len(text) <= 24 else f"{text[:23]}…"


def _order(value: object) -> tuple[float, str]:
    """Return a sort key that puts numbers before texts."""
    return (value, "") if isinstance(value, int | float) else (math.inf, str(value))
