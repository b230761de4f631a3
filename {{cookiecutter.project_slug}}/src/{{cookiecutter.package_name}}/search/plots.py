"""The picture of many runs: their scores one after another, and against each setting."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

mpl.use("Agg")

PANELS, COLUMNS = 12, 3
CATEGORIES = 12  # more cannot be read
DECADES = 20  # the ratio of largest to smallest from which on an axis is logarithmic
GOLDEN = 0.618034  # its multiples spread evenly, however many there are
MARKS: dict[str, dict[str, Any]] = {
    "finished": {"color": "tab:blue", "alpha": 0.7, "linewidths": 0, "s": 28},
    "stopped": {"edgecolors": "tab:blue", "facecolors": "none", "s": 28},
    "failed": {"color": "tab:red", "marker": "x", "s": 28},
}
BEST_MARK: dict[str, Any] = {
    "facecolors": "tab:orange",
    "edgecolors": "black",
    "marker": "*",
    "s": 110,
}

Points = Sequence[tuple[float | None, str]]
Best = Callable[[Sequence[float]], float]


def draw_scatter(
    points: Points,
    settings: Mapping[str, Mapping[int, object]],
    path: Path,
    *,
    metric: str,
    best: Best,
) -> None:
    """Draw the scores in the order of the runs, and against each setting that can be drawn.

    Args:
        points: score and state of each run, in the order in which they were started; without a
            score, a run is marked at the lower edge.
        settings: by path, the value in each run that has one, by its place in ``points``.
        path: the PNG file to write.
        metric: what the scores are.
        best: min or max.
    """
    shown = [key for key, column in settings.items() if _drawable([*column.values()])]
    panels = 1 + len(shown[: PANELS - 1])
    width = min(COLUMNS, panels)
    height = -(-panels // width)
    size = (4.4 * width, 3.4 * height)
    figure, grid = plt.subplots(
        height, width, figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    for axes in grid.flat[panels:]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel(metric)
    _draw_history(grid[0, 0], points, best)
    for axes, key in zip(grid.flat[1:panels], shown, strict=False):
        _draw_setting(axes, settings[key], points, best)
        axes.set_xlabel(key)
    marks, names = grid[0, 0].get_legend_handles_labels()
    named = dict(zip(names, marks, strict=True))
    figure.legend(named.values(), named, loc="outside upper left", ncols=len(named), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def label(value: object) -> str:
    """A value in few letters, as a command line has it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _drawable(values: Sequence[object]) -> bool:
    return _on_an_axis(values) or len(set(map(label, values))) <= CATEGORIES


def _on_an_axis(values: Sequence[object]) -> bool:
    """Numbers have an axis, unless they are so few that a strip for each shows more."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return False
    distinct = len(set(values))
    return distinct > CATEGORIES / 2 or distinct == len(values)


def _draw_history(axes: Axes, points: Points, best: Best) -> None:
    _draw_points(axes, range(len(points)), points, best)
    scored = {index: score for index, (score, _) in enumerate(points) if score is not None}
    if scored:
        so_far = [*accumulate(scored.values(), lambda *scores: best(scores))]
        axes.step(
            [*scored, len(points) - 1],
            [*so_far, so_far[-1]],
            where="post",
            color="tab:orange",
            zorder=0,
            label="best so far",
        )
    axes.set_xlabel("run")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_setting(axes: Axes, column: Mapping[int, Any], points: Points, best: Best) -> None:
    having = [points[index] for index in column]
    if _on_an_axis([*column.values()]):
        numbers = [float(value) for value in column.values()]
        if _over_decades(numbers):
            axes.set_xscale("log")
        _draw_points(axes, numbers, having, best)
        return
    values = sorted({label(value): value for value in column.values()}.items(), key=_order)
    names = [name for name, _ in values]
    strips = [names.index(label(value)) for value in column.values()]
    spread = [(index * GOLDEN) % 1 - 0.5 for index in range(len(strips))]
    places = [strip + 0.4 * beside for strip, beside in zip(strips, spread, strict=True)]
    _draw_points(axes, places, having, best)
    for strip in range(len(names)):
        of_strip = zip(strips, having, strict=True)
        scores = [score for place, (score, _) in of_strip if place == strip and score is not None]
        if len(scores) > 2:
            axes.hlines(statistics.median(scores), strip - 0.3, strip + 0.3, color="0.3")
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.6, len(names) - 0.4)
    if sum(map(len, names)) > 30:
        plt.setp(axes.get_xticklabels(), rotation=25, ha="right", rotation_mode="anchor")


def _over_decades(numbers: Sequence[float]) -> bool:
    low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
    return 0 < DECADES * low <= high and middle < high / 4


def _order(named: tuple[str, Any]) -> tuple[bool, float, str]:
    name, value = named
    number = isinstance(value, int | float)
    return not number, float(value) if number else 0, name


def _draw_points(axes: Axes, places: Sequence[float], points: Points, best: Best) -> None:
    axes.grid(alpha=0.3)
    axes.update_datalim([(place, 0) for place in places], updatey=False)
    at_edge = axes.get_xaxis_transform()
    drawn = [(place, *point) for place, point in zip(places, points, strict=True)]
    for state, marks in MARKS.items():
        scored = [
            (place, score) for place, score, its in drawn if its == state and score is not None
        ]
        others = [(place, 0.03) for place, score, its in drawn if its == state and score is None]
        if scored:
            axes.scatter(*zip(*scored, strict=True), label=state, **marks)
        if others:
            axes.scatter(*zip(*others, strict=True), label=state, transform=at_edge, **marks)
    scores = {score: place for place, score, _ in reversed(drawn) if score is not None}
    if scores:
        top = best([*scores])
        axes.scatter(scores[top], top, zorder=3, label="best", **BEST_MARK)
