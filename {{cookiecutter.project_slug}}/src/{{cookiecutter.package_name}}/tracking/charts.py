"""Results of an evaluation as W&B charts, histograms and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..evaluation.scores import BINS, ScoreCounts
from .logger import RunLogger

MAX_CLASSES = 100  # in a confusion matrix: more are illegible, and its table has classes² rows


def table(logger: RunLogger, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a table of at least one row; the keys of the first row are the columns."""
    return logger.wandb.Table(columns=list(rows[0]), data=[[*row.values()] for row in rows])


def precision_recall(logger: RunLogger, counts: ScoreCounts) -> Any:
    """Return a chart with the precision-recall curve of each class, by falling threshold."""
    curves = counts.curves()
    points = [
        (name, recall, precision)
        for name, recalls, precisions in zip(
            counts.classes, curves.recall, curves.precision, strict=True
        )
        for recall, precision in zip(recalls[::-1], precisions[::-1], strict=True)
        if not np.isnan(precision)
    ]
    return logger.wandb.plot_table(
        vega_spec_name="wandb/area-under-curve/v0",
        data_table=logger.wandb.Table(columns=["class", "recall", "precision"], data=points),
        fields={"x": "recall", "y": "precision", "class": "class"},
        string_fields={
            "title": "Precision over recall",
            "x-axis-title": "recall",
            "y-axis-title": "precision",
        },
    )


def score_histograms(logger: RunLogger, counts: ScoreCounts) -> dict[str, Any]:
    """Return histograms of the scores of correct and of wrong predictions of all classes."""
    edges = np.linspace(0, 1, BINS + 1)
    return {
        f"scores_{name}": logger.wandb.Histogram(np_histogram=(values.sum(axis=0), edges))
        for name, values in (("right", counts.correct), ("wrong", counts.wrong))
    }


def confusion_matrix(logger: RunLogger, matrix: np.ndarray, names: Sequence[str]) -> Any:
    """Return a chart of the counts [targets, predictions], at most of ``MAX_CLASSES`` classes.

    ``wandb.plot.confusion_matrix`` takes the label of each sample instead of counts.
    """
    shown = names[:MAX_CLASSES]
    title = "Confusion matrix"
    if len(shown) < len(names):
        title += f" of the first {len(shown)} of {len(names)} classes"
    columns = ["Actual", "Predicted", "nPredictions"]
    cells = [
        (target, prediction, int(matrix[row, column]))
        for row, target in enumerate(shown)
        for column, prediction in enumerate(shown)
    ]
    return logger.wandb.plot_table(
        vega_spec_name="wandb/confusion_matrix/v1",
        data_table=logger.wandb.Table(columns=columns, data=cells),
        fields={name: name for name in columns},
        string_fields={"title": title},
    )
