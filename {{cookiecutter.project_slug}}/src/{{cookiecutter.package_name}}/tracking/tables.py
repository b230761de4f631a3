"""Tables of images: what the data are, and what a checkpoint makes of them.

Both have the column ``id``, the path of the image below the data folder, to join them on.
"""

from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from ..data.datamodule import Datasets
from ..data.images import Unreadable
from ..task import TaskModule
from .charts import by_class, confusion_matrix, precision_recall, score_histograms
from .images import picture
from .judging import Judged, ScoreCounts
from .logger import RunLogger
from .task import columns, confusion, judge, labels


def image_id(path: str, root: Path) -> str:
    """The path below the data folder; the whole path if it lies elsewhere."""
    whole = Path(path).absolute()
    inside = whole.is_relative_to(root.absolute())
    return (whole.relative_to(root.absolute()) if inside else whole).as_posix()


def data_table(tracked: RunLogger, datasets: Datasets, root: Path) -> Any:
    """Some images of each split, evenly chosen: the image, its label, size and statistics."""
    own = list(labels(None, []))
    table = tracked.wandb.Table(
        columns=["id", "split", "image", *own, "width", "height", "brightness", "contrast"]
    )
    for split in ("train", "val", "test"):
        dataset = getattr(datasets, split)
        changing, dataset.transform = dataset.transform, datasets.test.transform
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
                    picture(tracked, sample.image, classes, target=sample.target, words=split),
                    *labels(sample.target, classes).values(),
                    width,
                    height,
                    round(float(pixels.mean()), 2),
                    round(float(pixels.std()), 2),
                )
        finally:
            dataset.transform = changing
    return table


class EvaluationTables(Callback):
    """After a test: the table of predictions, the worst of them, and the charts."""

    def __init__(self, tracked: RunLogger, root: Path) -> None:
        self.tracked = tracked
        self.root = root
        self._hook: Any = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen to what the module says in its own forward pass: there is no second one."""
        self.table: Any = None
        self.worst: list[Judged] = []
        self.counts = ScoreCounts(len(cast("TaskModule", pl_module).classes))
        self._hook = pl_module.register_forward_hook(self._hear)

    def _hear(self, _module: Any, _inputs: Any, output: Any) -> None:
        self.output = output

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Judge the images of one batch."""
        with self.tracked.guarded("judging images"):
            module = cast("TaskModule", pl_module)
            paths = cast("Any", trainer).datamodule.datasets.test.paths
            judged = judge(module, batch, self.output, self.counts)
            rows = 0 if self.table is None else len(self.table.data)
            for one in judged[: max(self.tracked.tracking.tables.predictions - rows, 0)]:
                self._add(one, paths[one.position], module)
            most = self.tracked.tracking.media.worst
            self.worst = sorted([*self.worst, *judged], key=lambda one: -one.loss)[:most]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send all of it."""
        if self._hook is not None:
            self._hook.remove()
        module = cast("TaskModule", pl_module)
        with self.tracked.guarded("sending the evaluation"):
            values: dict[str, Any] = {
                "precision_recall": precision_recall(self.tracked, self.counts, module.classes),
                "by_class": by_class(self.tracked, module.report(), module.classes),
                **score_histograms(self.tracked, self.counts),
            }
            matrix, names = confusion(module, self.counts)
            values["confusion_matrix"] = confusion_matrix(self.tracked, matrix, names)
            if self.table is not None:
                values["predictions"] = self.table
            if self.worst:
                values["worst"] = [self._picture(one, module) for one in self.worst]
            named = {f"test/{name}": value for name, value in values.items()}
            self.tracked.log_metrics(named, trainer.global_step)

    def _add(self, one: Judged, path: str, module: TaskModule) -> None:
        own = columns(one, module.classes)
        if self.table is None:
            names = ["id", "image", *own, "confidence", "loss", "correct"]
            self.table = self.tracked.wandb.Table(columns=names)
        self.table.add_data(
            image_id(path, self.root),
            self._picture(one, module),
            *own.values(),
            round(one.confidence, 6),
            round(one.loss, 6),
            one.correct,
        )

    def _picture(self, one: Judged, module: TaskModule) -> Any:
        return picture(
            self.tracked, one.image, module.classes, target=one.target, prediction=one.prediction
        )
