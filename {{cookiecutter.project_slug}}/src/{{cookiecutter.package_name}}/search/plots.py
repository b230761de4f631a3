"""Pictures of many runs: the scores of a multirun, and Optuna's plots of a study."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from ..run.atomic_files import replacing
from .compare import Result, label, varied_settings

if TYPE_CHECKING:
    from optuna import Study

mpl.use("Agg")

MAX_SETTINGS = 8  # more panels in a row cannot be read


def draw_scores(results: Sequence[Result], path: Path) -> dict[Path, str]:
    """Draw the best score of each run by each setting that varies.

    Returns:
        The PNG file and its caption.
    """
    keys = varied_settings(results)[:MAX_SETTINGS] or ["seed"]
    scored = [result for result in results if result.score is not None]
    # A value of a setting may hold any characters.
    with plt.rc_context({"text.parse_math": False, "figure.figsize": (3.5 * len(keys), 4)}):
        _, grid = plt.subplots(1, len(keys), squeeze=False, sharey=True)
        for axes, key in zip(grid[0], keys, strict=True):
            points = sorted((*_order(result.settings.get(key)), result.score) for result in scored)
            # Matplotlib places texts on an axis in the order of the points.
            axes.scatter([text for _, _, text, _ in points], [score for *_, score in points])
            axes.set_xlabel(key)
            axes.tick_params("x", rotation=45)
            axes.grid(alpha=0.3)
        grid[0, 0].set_ylabel(results[0].monitor)
        _save(path)
    return {path: "The best score of each run by each setting that varies"}


def draw_study(study: "Study", folder: Path) -> dict[Path, str]:
    """Draw the finished trials of a study.

    Returns:
        The PNG files in ``folder`` and their captions.
    """
    from optuna.visualization import matplotlib as optuna_plots  # noqa: PLC0415 - an extra

    plots: dict[str, tuple[Callable[..., object], str]] = {
        "results.png": (optuna_plots.plot_optimization_history, "The score of each trial"),
        "importances.png": (optuna_plots.plot_param_importances, "The effect of each setting"),
        "slices.png": (optuna_plots.plot_slice, "The score by the value of each setting"),
    }
    # Optuna warns of plots with few points, and sets a style.
    with warnings.catch_warnings(action="ignore"), plt.rc_context({"figure.figsize": (8, 5)}):
        for name, (plot, _) in plots.items():
            plot(study, target_name=study.user_attrs["space"]["score"])
            _save(folder / name)
    return {folder / name: caption for name, (_, caption) in plots.items()}


def _save(path: Path) -> None:
    with replacing(path) as hidden:
        plt.gcf().set_layout_engine("tight")
        plt.savefig(hidden, dpi=110)
    plt.close()


def _order(value: object) -> tuple[bool, float, str]:
    """Return a sort key that puts numbers before texts; its last entry is the label."""
    if isinstance(value, int | float):
        return False, float(value), label(value)
    return True, 0, label(value)
