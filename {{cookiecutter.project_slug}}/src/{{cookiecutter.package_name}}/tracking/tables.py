"""Tables and charts: samples of the data set, and the predictions and the scores of a test.

The tables of images can be joined by their column ``id``, the path below the data folder.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

# ~ if cookiecutter.task == "classification"
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.datamodule import Datasets
from ..data.files import relative_names
from ..data.images import Unreadable, image_size
# ~ if cookiecutter.task == "detection"
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..evaluation.score_counts import EvaluationResults, ScoreCounts
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from ..settings.data import PixelFormat
from ..training.callbacks.pictures import PredictedSample
from .images import picture
from .logger import RunLogger
from .task import predicted_classes, target_classes

MAX_CLASSES = 100  # in a confusion matrix: more are illegible, and its table has classes² rows
DATA = ["id", "split", "image", "target", "width", "height"]  # the columns of the tables
PREDICTIONS = ["id", "image", "target", "prediction", "confidence", "loss", "correct"]


def data_table(logger: RunLogger, datasets: Datasets, root: Path, pixels: PixelFormat) -> Any:
    """Return a table of evenly spaced images of each split; width and height are in pixels."""
    rows: list[list[Any]] = []
    for split in ("train", "val", "test"):
        dataset = copy(getattr(datasets, split))
        dataset.transform = datasets.test.transform
        count = min(logger.tracking.tables.data, len(dataset))
        for index in torch.linspace(0, len(dataset) - 1, count).long().tolist():
            sample = dataset[index]
            if isinstance(sample, Unreadable):
                continue
            (name,) = relative_names([dataset.names[index]], root)
            shown = PredictedSample(sample.image, sample.target, prediction=None)
            image = picture(logger, shown, datasets.classes)
            target = _names(target_classes(sample.target), datasets.classes)
            height, width = image_size(dataset.paths[index], pixels)
            rows.append([name, split, image, target, width, height])
    return logger.wandb.Table(columns=DATA, data=rows)


def _names(labels: Iterable[int], classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in labels)


class EvaluationTables(Callback):
    """Log the results of a test: a table of predictions, and charts."""

    def __init__(self, logger: RunLogger, root: Path) -> None:
        self.logger = logger
        self.root = root
        self.rows: list[list[Any]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Add the images of a batch to the table, up to ``tracking.tables.predictions`` rows."""
        classes = cast("TaskModule", pl_module).classes
        names = cast("Any", trainer).datamodule.datasets.test.names
        missing = max(self.logger.tracking.tables.predictions - len(self.rows), 0)
        with self.logger.guarded("adding rows to the table of predictions"):
            for result in outputs["images"][:missing] if outputs else []:
                (name,) = relative_names([names[result.position]], self.root)
                # A view of an image would keep its whole batch in memory.
                kept = result._replace(image=result.image.cpu().clone())
                target = _names(target_classes(result.target), classes)
                prediction = _names(predicted_classes(result.prediction), classes)
                numbers = round(result.confidence, 6), round(result.loss, 6), result.correct
                self.rows.append([name, kept, target, prediction, *numbers])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the tables and the charts."""
        logger, callbacks = self.logger, cast("Any", trainer).callbacks
        (results,) = (item for item in callbacks if isinstance(item, EvaluationResults))
        module, counts, rows = cast("TaskModule", pl_module), results.counts, self.rows
        scores: dict[str, list[Any]] = {"class": counts.classes, **module.scores_by_class()}
        step, epoch = trainer.global_step, trainer.current_epoch

        def log(logger: RunLogger) -> None:
            by_class = [list(row) for row in zip(*scores.values(), strict=True)]
            values: dict[str, Any] = {
                "precision_recall": precision_recall(logger, counts),
                "confusion_matrix": confusion_matrix(logger, counts),
                "by_class": logger.wandb.Table(columns=[*scores], data=by_class),
            }
            # W&B moves the files of an image, so that it can be logged only once.
            shown = [[row[0], picture(logger, row[1], counts.classes), *row[2:]] for row in rows]
            if shown:  # the images of a training run have the name "val/predictions"
                values["predictions_table"] = logger.wandb.Table(columns=PREDICTIONS, data=shown)
            named = {f"{module.tested_split}/{name}": value for name, value in values.items()}
            logger.log_metrics({**named, "epoch": epoch}, step)

        logger.log_lasting("sending the evaluation", log)


def precision_recall(logger: RunLogger, counts: ScoreCounts) -> Any:
    """Return a chart with the precision-recall curve of each class."""
    curves = counts.curves()
    known = ~np.isnan(curves.precision[:, ::-1])
    recall, precision = (
        [values[chosen].tolist() for values, chosen in zip(lines[:, ::-1], known, strict=True)]
        for lines in (curves.recall, curves.precision)
    )
    title = "Precision over recall"
    return logger.wandb.plot.line_series(recall, precision, counts.classes, title, "recall")


def confusion_matrix(logger: RunLogger, counts: ScoreCounts) -> Any:
    """Return a chart of the confusion matrix, at most of ``MAX_CLASSES`` classes.

    ``wandb.plot.confusion_matrix`` takes the label of each sample instead of counts.
    """
    names, title = counts.confusion_names[:MAX_CLASSES], "Confusion matrix"
    if len(names) < len(counts.confusion_names):
        title += f" of the first {len(names)} of {len(counts.confusion_names)} classes"
    columns = ["Actual", "Predicted", "nPredictions"]
    places = np.ndindex(len(names), len(names))
    cells = [[names[row], names[col], int(counts.confusion[row, col])] for row, col in places]
    table = logger.wandb.Table(columns=columns, data=cells)
    fields = {name: name for name in columns}
    texts = {"title": title}
    return logger.wandb.plot_table("wandb/confusion_matrix/v1", table, fields, texts)
