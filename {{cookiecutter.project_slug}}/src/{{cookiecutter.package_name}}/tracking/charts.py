"""Charts of an evaluation, by W&B's own chart kinds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .judging import BINS, ScoreCounts
from .logger import RunLogger

MOST_CLASSES = 100  # of a confusion matrix: more cannot be read, and the table has classes² rows


def precision_recall(tracked: RunLogger, counts: ScoreCounts, classes: Sequence[str]) -> Any:
    """A curve for each class, from the scores in steps of 0.01."""
    table = tracked.wandb.Table(columns=["class", "recall", "precision"])
    for label, name in enumerate(classes):
        for precision, recall in counts.precision_and_recall(label):
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
    """How the scores of what is right and of what is wrong are spread, over all classes."""
    edges = np.linspace(0, 1, BINS + 1)
    return {
        f"scores_{name}": tracked.wandb.Histogram(np_histogram=(values.sum(axis=0), edges))
        for name, values in (("right", counts.right), ("wrong", counts.wrong))
    }


def confusion_matrix(tracked: RunLogger, matrix: np.ndarray, classes: Sequence[str]) -> Any:
    """The chart of counts [targets, predictions].

    W&B's own function wants a list of all labels; this makes the same chart from their counts.
    Of many classes it shows the first, and says so in its title.
    """
    shown = min(len(classes), MOST_CLASSES)
    title = "Confusion matrix"
    if shown < len(classes):
        title += f" of the first {shown} of {len(classes)} classes"
    table = tracked.wandb.Table(columns=["Actual", "Predicted", "nPredictions"])
    for target in range(shown):
        for found in range(shown):
            table.add_data(classes[target], classes[found], int(matrix[target, found]))
    return tracked.wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=table,
        fields={name: name for name in ("Actual", "Predicted", "nPredictions")},
        string_fields={"title": title},
    )


def by_class(tracked: RunLogger, report: dict[str, Any], classes: Sequence[str]) -> Any:
    """The metrics of each class as one table rather than as a key each.

    Args:
        tracked: the open run.
        report: what the module's ``report`` returns: ``{metric}_by_class``, each by name.
        classes: the names.
    """
    metrics = {
        name.removesuffix("_by_class"): values
        for name, values in report.items()
        if isinstance(values, dict)
    }
    table = tracked.wandb.Table(columns=["class", *metrics])
    for name in classes:
        table.add_data(name, *(values.get(name) for values in metrics.values()))
    return table
