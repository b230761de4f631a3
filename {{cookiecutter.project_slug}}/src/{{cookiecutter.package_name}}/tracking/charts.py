"""Charts of an evaluation, of the kinds that W&B has."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.scores import BINS, ClassScores, ScoreCounts
from .logger import RunLogger

MOST_CLASSES = 100  # of a confusion matrix: more are illegible, and its table has classes² rows


def precision_recall(tracked: RunLogger, counts: ScoreCounts) -> Any:
    """A curve for each class, from the highest threshold to the lowest."""
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
    """The distribution of the scores of correct and of wrong predictions, over all classes."""
    edges = np.linspace(0, 1, BINS + 1)
    return {
        f"scores_{name}": tracked.wandb.Histogram(np_histogram=(values.sum(axis=0), edges))
        for name, values in (("right", counts.correct), ("wrong", counts.wrong))
    }


def confusion_matrix(tracked: RunLogger, matrix: np.ndarray, names: Sequence[str]) -> Any:
    """The chart of counts [targets, predictions].

    W&B's own function wants a list of all labels; this makes the same chart from their counts.
    Of many classes it shows the first, and says so in its title.
    """
    shown = min(len(names), MOST_CLASSES)
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
    """The metrics of each class as one table rather than as a key each."""
    table = tracked.wandb.Table(columns=["class", *scores])
    for row in zip(classes, *scores.values(), strict=True):
        table.add_data(*row)
    return table
