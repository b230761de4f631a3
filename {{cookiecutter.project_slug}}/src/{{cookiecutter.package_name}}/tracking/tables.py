"""Tables of images: samples of the data set, and the predictions of a test.

Both tables can be joined by their column ``id``, the path of the image below the data folder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from ..data.datamodule import Datasets
from ..data.images import Unreadable
from ..evaluation.callback import EvaluationResults
from ..evaluation.scores import ImageResult
from ..task import TaskModule
from .charts import by_class, confusion_matrix, precision_recall, score_histograms
from .images import picture
from .logger import RunLogger
from .task import columns, labels


def image_id(path: str, root: Path) -> str:
    """Return the path of an image relative to the data folder, or absolute if it is outside."""
    whole = Path(path).absolute()
    inside = whole.is_relative_to(root.absolute())
    return (whole.relative_to(root.absolute()) if inside else whole).as_posix()


def data_table(tracked: RunLogger, datasets: Datasets, root: Path) -> Any:
    """Return a table of evenly spaced images of each split.

    Its columns are the image, its target, its width and height in pixels, and the mean and the
    standard deviation of its pixels from 0 to 255 (``brightness`` and ``contrast``).
    """
    target_columns = list(labels(None, []))
    table = tracked.wandb.Table(
        columns=[
            "id",
            "split",
            "image",
            *target_columns,
            "width",
            "height",
            "brightness",
            "contrast",
        ]
    )
    for split in ("train", "val", "test"):
        dataset = getattr(datasets, split)
        transform, dataset.transform = dataset.transform, datasets.test.transform
        try:
            count = min(tracked.tracking.tables.data, len(dataset))
            for index in torch.linspace(0, len(dataset) - 1, count).long().tolist():
                sample = dataset[index]
                if isinstance(sample, Unreadable):
                    continue
                pixels = sample.image.float()
                with Image.open(dataset.paths[index]) as file:
                    width, height = file.size
                classes = list(datasets.classes)
                table.add_data(
                    image_id(dataset.paths[index], root),
                    split,
                    picture(tracked, sample.image, classes, target=sample.target, text=split),
                    *labels(sample.target, classes).values(),
                    width,
                    height,
                    round(float(pixels.mean()), 2),
                    round(float(pixels.std()), 2),
                )
        finally:
            dataset.transform = transform
    return table


class EvaluationTables(Callback):
    """Log the results of a test: a table of predictions, the worst predictions, and charts."""

    def __init__(self, tracked: RunLogger, root: Path) -> None:
        self.tracked = tracked
        self.root = root
        self.table: Any = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start an empty table, and make ``EvaluationResults`` keep enough of the worst images."""
        self.table = None
        results = _results(trainer)
        results.shown = max(results.shown, self.tracked.tracking.media.worst)

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
        with self.tracked.guarded("adding rows to the table of predictions"):
            paths = cast("Any", trainer).datamodule.datasets.test.paths
            rows = 0 if self.table is None else len(self.table.data)
            for result in outputs["images"][
                : max(self.tracked.tracking.tables.predictions - rows, 0)
            ]:
                self._add(result, paths[result.position], cast("TaskModule", pl_module).classes)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table, the worst predictions and the charts."""
        module, results = cast("TaskModule", pl_module), _results(trainer)
        counts = results.counts
        with self.tracked.guarded("sending the evaluation"):
            values: dict[str, Any] = {
                "precision_recall": precision_recall(self.tracked, counts),
                "by_class": by_class(self.tracked, module.scores_by_class(), counts.classes),
                **score_histograms(self.tracked, counts),
                "confusion_matrix": confusion_matrix(
                    self.tracked, counts.confusion, counts.confusion_names
                ),
            }
            if self.table is not None:
                values["predictions"] = self.table
            worst = results.worst[: self.tracked.tracking.media.worst]
            if worst:
                values["worst"] = [self._picture(result, counts.classes) for result in worst]
            named = {f"test/{name}": value for name, value in values.items()}
            self.tracked.log_metrics(named, trainer.global_step)

    def _add(self, result: ImageResult, path: str, classes: Sequence[str]) -> None:
        task_columns = columns(result, classes)
        if self.table is None:
            names = ["id", "image", *task_columns, "confidence", "loss", "correct"]
            self.table = self.tracked.wandb.Table(columns=names)
        self.table.add_data(
            image_id(path, self.root),
            self._picture(result, classes),
            *task_columns.values(),
            round(result.confidence, 6),
            round(result.loss, 6),
            result.correct,
        )

    def _picture(self, result: ImageResult, classes: Sequence[str]) -> Any:
        return picture(
            self.tracked, result.image, classes, target=result.target, prediction=result.prediction
        )


def _results(trainer: Trainer) -> EvaluationResults:
    callbacks = cast("Any", trainer).callbacks
    return next(callback for callback in callbacks if isinstance(callback, EvaluationResults))
