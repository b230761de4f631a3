"""Tables of images: samples of the data set, and the predictions of a test with its results.

The tables can be joined by their column ``id``, the path below the data folder.
"""

import csv
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.batches import evenly_spaced
from ..data.datamodule import Datasets
from ..data.files import relative_names
from ..data.images import image_size
from ..settings.data import PixelFormat
from ..training.callbacks.pictures import PredictedSample
from .images import picture
from .logger import RunLogger
from .task import predicted_classes, target_classes

DATA_ROWS, PREDICTION_ROWS = 100, 500  # at most: of each split, and of a test
DATA = ["id", "split", "image", "target", "width", "height"]  # the columns of the tables
PREDICTIONS = ["id", "image", "target", "prediction", "confidence", "loss", "correct"]
FIGURES = ("confusion_matrix", "precision_recall", "thresholds")  # in the run folder


def data_table(logger: RunLogger, datasets: Datasets, root: Path, pixels: PixelFormat) -> Any:
    """Return a table of evenly spaced images of each split; width and height are in pixels."""
    rows: list[list[Any]] = []
    for split in ("train", "val", "test"):
        dataset = copy(getattr(datasets, split))
        dataset.transform = datasets.test.transform
        for sample in evenly_spaced(dataset, DATA_ROWS):
            (name,) = relative_names([dataset.names[sample.position]], root)
            shown = PredictedSample(sample.image, sample.target, prediction=None)
            image = picture(logger, shown, datasets.classes)
            target = _names(target_classes(sample.target), datasets.classes)
            height, width = image_size(dataset.paths[sample.position], pixels)
            rows.append([name, split, image, target, width, height])
    return logger.wandb.Table(columns=DATA, data=rows)


def _names(labels: Iterable[int], classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in labels)


class EvaluationTables(Callback):
    """Log the results of a test: its figures, the scores of each class and predictions."""

    def __init__(self, logger: RunLogger, root: Path) -> None:
        self.logger = logger
        self.root = root
        self.rows: list[list[Any]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Add the images of a batch to the table of predictions."""
        self.module, self.epoch = cast("Any", pl_module), trainer.current_epoch
        names = cast("Any", trainer).datamodule.datasets.test.names
        missing = PREDICTION_ROWS - len(self.rows) if self.logger.tracking.media.images else 0
        with self.logger.guarded("adding rows to the table of predictions"):
            for result in outputs["images"][:missing] if outputs else []:
                (name,) = relative_names([names[result.position]], self.root)
                # A view of an image would keep its whole batch in memory.
                kept = result._replace(image=result.image.cpu().clone())
                target = _names(target_classes(result.target), self.module.classes)
                prediction = _names(predicted_classes(result.prediction), self.module.classes)
                numbers = round(result.confidence, 6), round(result.loss, 6), result.correct
                self.rows.append([name, kept, target, prediction, *numbers])

    def send(self) -> None:
        """Log the table of predictions, and what the test has written into the run folder."""

        def log(logger: RunLogger) -> None:
            wandb, folder, classes = logger.wandb, logger.run.folder, self.module.classes
            drawn = [folder / f"{name}.png" for name in FIGURES]
            values = {path.stem: wandb.Image(str(path)) for path in drawn if path.is_file()}
            with (folder / "per_class.csv").open(encoding="utf-8", newline="") as file:
                columns, *rows = csv.reader(file)
            cells = [
                [name, *(float(cell) if cell else None for cell in row)] for name, *row in rows
            ]
            values["per_class"] = wandb.Table(columns=columns, data=cells)
            # W&B moves the files of an image, so that it can be logged only once.
            shown = [[row[0], picture(logger, row[1], classes), *row[2:]] for row in self.rows]
            if shown:  # the images of a training run have the name "val/predictions"
                values["predictions_table"] = wandb.Table(columns=PREDICTIONS, data=shown)
            named = {f"{self.module.tested_split}/{key}": value for key, value in values.items()}
            logger.log_metrics({**named, "epoch": self.epoch})

        self.logger.log_lasting("sending the evaluation", log)
