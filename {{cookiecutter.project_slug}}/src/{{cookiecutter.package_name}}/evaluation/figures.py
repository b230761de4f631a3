"""Write the results of a test as figures (PNG) and as tables of all values (CSV).

If there are many classes, a figure shows the worst classes only, which its title states.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..run.atomic_files import replacing, write_csv
from .score_counts import THRESHOLDS, ClassScores, Curves, ScoreCounts, best_threshold, rounded

MAX_BARS, MAX_CELLS, MAX_LINES = 30, 25, 8  # maximum number of classes in a figure
MAX_LETTERS, LINE_LETTERS = 64, 24  # of the name of a class, and of each line of it


def write_figures(counts: ScoreCounts, scores: ClassScores, folder: Path) -> dict[str, str]:
    """Write the figures of a test as PNG and CSV; return the names of their files by heading."""
    curves = counts.curves()
    _confusion_matrix(counts, folder / "confusion_matrix")
    _precision_recall(counts.classes, curves, folder / "precision_recall")
    _thresholds(curves.mean(), folder / "thresholds")
    _per_class(counts, curves, scores, folder / "per_class")
    return {
        "Confusion matrix": "confusion_matrix",
        "Thresholds": "thresholds",
        "Precision and recall": "precision_recall",
        "Scores of each class": "per_class",
    }


def _confusion_matrix(counts: ScoreCounts, path: Path) -> None:
    """Plot targets in rows and predictions in columns, coloured by the fraction of the row."""
    names, matrix = counts.confusion_names, counts.confusion
    confused = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * matrix.diagonal()
    shown, note = _lowest(-confused, MAX_CELLS, "most confused")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels, height, font = _labels([names[index] for index in shown])
    side = 2.6 + max(0.42, height) * len(shown)
    figure, axes = _axes(side + 1, side, title=f"Confusion matrix{note}")
    image = axes.imshow(shares[np.ix_(shown, shown)], cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="fraction of the targets", shrink=0.8)
    axes.set(xlabel="prediction", ylabel="target")
    axes.set_xticks(range(len(shown)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(shown)), labels)
    axes.tick_params(labelsize=font)
    short = EngFormatter(places=0, sep="")  # 12345 as 12k
    for row, target in enumerate(shown):
        for column, prediction in enumerate(shown):
            count = short(matrix[target, prediction])
            ink = "white" if shares[target, prediction] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=ink, fontsize=8)
    rows = ([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
    _write(path, figure, ["target", *names], rows)


def _precision_recall(classes: Sequence[str], curves: Curves, path: Path) -> None:
    highest = np.ma.masked_invalid(curves.f1).max(axis=1).filled(2)
    shown, note = _lowest(highest, MAX_LINES, "lowest F1")
    figure, axes = _axes(5.8, 4.2, title=f"Precision over recall{note}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    for label in shown:
        axes.plot(curves.recall[label], curves.precision[label], label=_label(classes[label]))
    mean = curves.mean()
    axes.plot(mean.recall, mean.precision, color="black", lw=2.5, label=_label("mean"))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    rows = (
        [name, *values]
        for name, *lines in zip(classes, curves.precision, curves.recall, strict=True)
        for values in zip(THRESHOLDS, *lines, strict=True)
    )
    _write(path, figure, ["class", "threshold", "precision", "recall"], rows)


def _thresholds(mean: Curves, path: Path) -> None:
    figure, axes = _axes(5.8, 3.6, title="Mean of the classes by threshold")
    axes.set(xlabel="threshold of the score", xlim=(0, 1), ylim=(0, 1.02))
    for name, values in mean._asdict().items():
        axes.plot(THRESHOLDS, values, label=name)
    best = best_threshold(mean.f1)
    if best is not None:
        label = f"best F1 {mean.f1[best]:.3f}\nat {THRESHOLDS[best]:.2f}"
        axes.axvline(THRESHOLDS[best], color="grey", linestyle="--", label=label)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _write(path, figure, ["threshold", *mean._fields], zip(THRESHOLDS, *mean, strict=True))


def _per_class(counts: ScoreCounts, curves: Curves, scores: ClassScores, path: Path) -> None:
    """Plot the scores; precision, recall and F1 are at the best threshold of each class."""
    best = [best_threshold(f1) for f1 in curves.f1]
    columns: dict[str, Sequence[object]] = {
        "class": counts.classes,
        "targets": counts.confusion.sum(axis=1)[: len(counts.classes)].tolist(),
        **scores,
    }
    thresholds = np.tile(THRESHOLDS, (len(best), 1))
    for name, rows in {"best_threshold": thresholds, **curves._asdict()}.items():
        pairs = zip(rows, best, strict=True)
        columns[name] = rounded(np.nan if index is None else row[index] for row, index in pairs)
    panels = {name: np.array(columns[name], dtype=float) for name in (*scores, "f1")}
    first = next(iter(panels))
    shown, note = _lowest(np.nan_to_num(panels[first], nan=2), MAX_BARS, f"lowest {first}")
    labels, height, font = _labels([counts.classes[label] for label in shown])
    size = (1.6 + 2 * len(panels), 1.3 + max(0.3, height) * len(shown))
    figure = Figure(size, layout="constrained")
    figure.suptitle(f"Scores of each class{note}")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(grid, panels.items(), strict=True):
        bars = axes.barh(range(len(shown)), np.nan_to_num(values[shown]), color="#0b4f8a")
        texts = ["" if np.isnan(value) else f"{value:.2f}" for value in values[shown]]
        axes.bar_label(bars, texts, padding=2, fontsize=8)
        axes.set_title(name if name != "f1" else "F1 at best threshold", fontsize=10)
        axes.set(xlim=(0, 1.25), xticks=(0, 0.5, 1), ymargin=0.01)
    grid[0].set_yticks(range(len(shown)), labels, fontsize=font)
    grid[0].invert_yaxis()
    _write(path, figure, list(columns), zip(*columns.values(), strict=True))


def _lowest(values: np.ndarray, count: int, criterion: str) -> tuple[list[int], str]:
    """Return the sorted indices of the ``count`` lowest values, and a note if some are omitted."""
    shown = sorted(np.argsort(values, kind="stable")[:count].tolist())
    omits = len(shown) < len(values)
    return shown, f"\n{count} of {len(values)} classes: {criterion}" if omits else ""


def _label(name: str) -> str:
    """Break a name into lines, shorten it in its middle if it is long, and escape it.

    Matplotlib parses ``$``, and hides labels that begin with _.
    """
    if len(name) > MAX_LETTERS:
        name = f"{name[: MAX_LETTERS // 2]}…{name[1 - MAX_LETTERS // 2 :]}"
    lines = textwrap.wrap(name, LINE_LETTERS)
    return "\n".join(f" {line}" for line in lines).replace("$", r"\$")


def _labels(names: Sequence[str]) -> tuple[list[str], float, int]:
    """Return the labels of an axis, the inches that the highest needs, and their font size."""
    labels = [_label(name) for name in names]
    lines = max(label.count("\n") for label in labels) + 1
    size = 10 if lines == 1 else 8
    return labels, lines * 1.3 * size / 72, size


def _axes(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure((width, height), layout="constrained")
    return figure, figure.add_subplot(title=title)


def _write(
    path: Path, figure: Figure, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    with replacing(path.with_suffix(".png")) as hidden:
        figure.savefig(hidden, dpi=110)
    cells = (
        [rounded([cell])[0] if isinstance(cell, float) else cell for cell in row] for row in rows
    )
    write_csv(path.with_suffix(".csv"), header, cells)
