"""Results of an evaluation as W&B charts, histograms and tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.scores import BINS, ClassScores, ScoreCounts
from .logger import RunLogger

MAX_CLASSES = 100  # in a confusion matrix: more are illegible, and its table has classes² rows


def precision_recall(tracked: RunLogger, counts: ScoreCounts) -> Any:
    """Return a chart with the precision-recall curve of each class, by falling threshold."""
    table = tracked.wandb.Table(columns=["class", "recall", "precision"])
    curves = counts.curves()
    for name, precisions, recalls in zip(
        counts.classes, curves.precision, curves.recall, strict=True
    ):
        for precision, recall in zip(
            precisions[::-1].tolist(), recalls[::-1].tolist(), strict=True
        ):
            if not np.isnan(precision):
                table.add_data(name, recall, precision)
    return tracked.wandb.plot_table(
        vega_spec_name="wandb/area-under-curve/v0",
        data_table=table,
        fields={"x": "recall", "y": "precision", "class": "class"},
        string_fields={
            "title": "Precision over recall",
            "x-axis-title": "recall",
            "y-axis-title": "precision",
        },
    )


def score_histograms(tracked: RunLogger, counts: ScoreCounts) -> dict[str, Any]:
    """Return histograms of the scores of correct and of wrong predictions of all classes."""
    edges = np.linspace(0, 1, BINS + 1)
    return {
        f"scores_{name}": tracked.wandb.Histogram(np_histogram=(values.sum(axis=0), edges))
        for name, values in (("right", counts.correct), ("wrong", counts.wrong))
    }


def confusion_matrix(tracked: RunLogger, matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Return a chart of a confusion matrix.

    ``wandb.plot.confusion_matrix`` takes the label of each sample; this function makes the same
    chart from counts. Of more than ``MAX_CLASSES`` classes only the first are shown, which the
    title says.

    Args:
        tracked: the logger of the run.
        matrix: int array [targets, predictions] of counts.
        names: the names of the rows and columns.
    """
    shown = min(len(names), MAX_CLASSES)
    title = "Confusion matrix"
    if shown < len(names):
        title += f" of the first {shown} of {len(names)} classes"
    table = tracked.wandb.Table(columns=["Actual", "Predicted", "nPredictions"])
    for target in range(shown):
        for prediction in range(shown):
            table.add_data(names[target], names[prediction], int(matrix[target, prediction]))
    return tracked.wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=table,
        fields={name: name for name in ("Actual", "Predicted", "nPredictions")},
        string_fields={"title": title},
    )


def by_class(tracked: RunLogger, scores: ClassScores, classes: Sequence[str]) -> Any:
    """Return a table with a row for each class and a column for each metric."""
    table = tracked.wandb.Table(columns=["class", *scores])
    for row in zip(classes, *scores.values(), strict=True):
        table.add_data(*row)
    return table
