"""Tables of images: samples of the data set, and the predictions of a test.

Both tables can be joined by their column ``id``, the path of the image below the data folder.
"""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import Datasets
from ..data.files import relative_names
from ..data.images import Unreadable, image_size
from ..evaluation.results import EvaluationResults
from ..task import TaskModule
from ..training.callbacks.pictures import PredictedSample
from .charts import confusion_matrix, precision_recall, score_histograms, table
from .images import picture
from .logger import RunLogger
from .task import columns, labels


def data_table(logger: RunLogger, datasets: Datasets, root: Path) -> Any:
    """Return a table of evenly spaced images of each split.

    Its columns are the image, its target, its width and height in pixels, and the mean and the
    standard deviation of its pixels from 0 to 255 (``brightness`` and ``contrast``).
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
            pixels = sample.image.float()
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
                    "brightness": round(float(pixels.mean()), 2),
                    "contrast": round(float(pixels.std()), 2),
                }
            )
    return table(logger, rows)


class EvaluationTables(Callback):
    """Log the results of a test: a table of predictions, the worst predictions, and charts."""

    def __init__(self, logger: RunLogger, root: Path) -> None:
        self.logger = logger
        self.root = root
        self.rows: list[dict[str, Any]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an empty table, and make ``EvaluationResults`` keep enough of the worst images."""
        self.rows = []
        results = _results(trainer)
        results.shown = max(results.shown, self.logger.tracking.media.worst)

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
        """Log the table, the worst predictions and the charts."""
        logger, results = self.logger, _results(trainer)
        counts, scores = results.counts, cast("TaskModule", pl_module).scores_by_class()
        with logger.guarded("sending the evaluation"):
            by_class = [list(row) for row in zip(counts.classes, *scores.values(), strict=True)]
            values: dict[str, Any] = {
                "precision_recall": precision_recall(logger, counts),
                "by_class": logger.wandb.Table(columns=["class", *scores], data=by_class),
                **score_histograms(logger, counts),
                "confusion_matrix": confusion_matrix(
                    logger, counts.confusion, counts.confusion_names
                ),
            }
            if self.rows:
                values["predictions"] = table(logger, self.rows)
            worst = results.worst[: logger.tracking.media.worst]
            if worst:
                values["worst"] = [picture(logger, result, counts.classes) for result in worst]
            named = {f"test/{name}": value for name, value in values.items()}
            logger.log_metrics(named, trainer.global_step)


def _results(trainer: Trainer) -> EvaluationResults:
    callbacks = cast("Any", trainer).callbacks
    return next(callback for callback in callbacks if isinstance(callback, EvaluationResults))
