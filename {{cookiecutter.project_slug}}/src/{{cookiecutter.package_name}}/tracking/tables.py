"""Tables and charts: samples of the data set, and the predictions and the scores of a test.

The tables of images can be joined by their column ``id``, the path below the data folder.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import Datasets
from ..data.files import relative_names
from ..data.images import Unreadable, image_size
from ..evaluation.collect_results import EvaluationResults
from ..evaluation.score_counts import ScoreCounts
from ..task import TaskModule
from ..training.callbacks.pictures import PredictedSample
from .images import picture
from .logger import RunLogger
from .task import columns, labels

MAX_CLASSES = 100  # in a confusion matrix: more are illegible, and its table has classes² rows


def data_table(logger: RunLogger, datasets: Datasets, root: Path) -> Any:
    """Return a table of evenly spaced images of each split.

    Its columns are the image, its target, and its width and height in pixels.
    """
    rows, classes = [], list(datasets.classes)
    for split in ("train", "val", "test"):
        dataset = copy(getattr(datasets, split))
        dataset.transform = datasets.test.transform
        count = min(logger.tracking.tables.data, len(dataset))
        for index in torch.linspace(0, len(dataset) - 1, count).long().tolist():
            sample = dataset[index]
            if isinstance(sample, Unreadable):
                continue
            height, width = image_size(dataset.paths[index], dataset.images.pixels)
            shown = PredictedSample(sample.image, sample.target, prediction=None)
            rows.append(
                {
                    "id": relative_names([dataset.names[index]], root)[0],
                    "split": split,
                    "image": picture(logger, shown, classes, text=split),
                    **labels(sample.target, classes),
                    "width": width,
                    "height": height,
                }
            )
    return table(logger, rows)


class EvaluationTables(Callback):
    """Log the results of a test: a table of predictions, and charts."""

    def __init__(self, logger: RunLogger, root: Path) -> None:
        self.logger = logger
        self.root = root
        self.rows: list[dict[str, Any]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an empty table."""
        self.rows = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the images of a batch to the table, up to ``tracking.tables.predictions`` rows."""
        classes: Sequence[str] = cast("TaskModule", pl_module).classes
        names = cast("Any", trainer).datamodule.datasets.test.names
        missing = max(self.logger.tracking.tables.predictions - len(self.rows), 0)
        with self.logger.guarded("adding rows to the table of predictions"):
            for result in outputs["images"][:missing]:
                self.rows.append(
                    {
                        "id": relative_names([names[result.position]], self.root)[0],
                        "image": picture(self.logger, result, classes),
                        **columns(result, classes),
                        "confidence": round(result.confidence, 6),
                        "loss": round(result.loss, 6),
                        "correct": result.correct,
                    }
                )

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table and the charts."""
        logger, callbacks = self.logger, cast("Any", trainer).callbacks
        (results,) = (item for item in callbacks if isinstance(item, EvaluationResults))
        module, counts = cast("TaskModule", pl_module), results.counts
        scores = module.scores_by_class()
        with logger.guarded("sending the evaluation"):
            by_class = [list(row) for row in zip(counts.classes, *scores.values(), strict=True)]
            values: dict[str, Any] = {
                "precision_recall": precision_recall(logger, counts),
                "by_class": logger.wandb.Table(columns=["class", *scores], data=by_class),
                "confusion_matrix": confusion_matrix(
                    logger, counts.confusion, counts.confusion_names
                ),
            }
            if self.rows:
                values["predictions"] = table(logger, self.rows)
            named = {f"{module.tested_split}/{name}": value for name, value in values.items()}
            logger.log_metrics(named, trainer.global_step)


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
