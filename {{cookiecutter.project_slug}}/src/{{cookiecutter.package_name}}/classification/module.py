"""The LightningModule for image classification: loss, metrics and predictions."""

from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchvision.transforms import v2

from ..data.datamodule import counted_images
from ..evaluation.scores import ClassScores, StepResults, rounded
from ..settings.tree import MONITOR, Settings
from ..training.backbone import prepare_network
from ..training.logging_step import is_logging_step
from ..training.optimizer import build_optimizer
from .dataset import UNLABELLED, Batch, Prediction
from .network import build_network
from .scoring import score_batch


class ClassificationModule(LightningModule):
    """Train a classifier with cross-entropy, and measure accuracy and macro F1."""

    def __init__(self, settings: Settings, classes: list[str], *, download: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        count = len(classes)
        self.network = build_network(
            settings.model, classes=count, image_size=settings.data.input_size, download=download
        )
        prepare_network(self.network, settings, compiled=self.network)
        self.mix = _mixing(settings, count)
        # Validating the arguments would cost time in every step.
        options: dict[str, Any] = {"ignore_index": UNLABELLED, "validate_args": False}
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(count, average="micro", **options),
                "f1": MulticlassF1Score(count, average="macro", **options),
            }
        )
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        # Lightning's mean would be wrong if processes measure different numbers of images.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.loss_count = SumMetric(nan_strategy="disable")
        self.confusion = MulticlassConfusionMatrix(count, **options)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of uint8 images [B, 3, H, W]."""
        logits: Tensor = self.network(images)
        return logits

    def predict_images(self, images: Tensor) -> list[Prediction]:
        """Return a prediction for each of the uint8 images [B, 3, H, W]."""
        confidences, labels = self(images).float().softmax(dim=1).max(dim=1)
        return list(map(Prediction, labels.tolist(), confidences.tolist()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy of a batch, after MixUp or CutMix if they are enabled."""
        images, targets = batch.images, batch.targets
        if self.mix is not None:
            images, targets = self.mix(images.float(), targets)
        loss = functional.cross_entropy(
            self(images).float(), targets, label_smoothing=self.settings.model.label_smoothing
        )
        if is_logging_step(self.trainer, self.global_step + 1):
            self.log("train/loss", loss, batch_size=len(images), on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        self.val_metrics.update(*self._add_loss(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_loss("val")
        for name, value in self.val_metrics.compute().items():
            self.log(name, value, prog_bar=name == MONITOR)
        self.val_metrics.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> StepResults:
        """Update the metrics with a batch, and return the results of its images."""
        logits, targets = self._add_loss(batch)
        self.test_metrics.update(logits, targets)
        self.confusion.update(logits, targets)
        counted = counted_images(batch.positions, self.trainer)
        return score_batch(batch, logits, counted, self.classes)

    def _add_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch to the mean loss, and return its logits and targets.

        Images that another process measures, too, get the target ``UNLABELLED`` in this process.
        """
        logits, targets = self(batch.images).float(), batch.targets
        count = len(targets)
        if self.trainer.world_size > 1:
            counted = counted_images(batch.positions, self.trainer)
            targets = targets.where(counted, UNLABELLED)
            count = int(counted.sum())
        total = functional.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="sum")
        self.loss_sum.update(total)
        self.loss_count.update(count)
        return logits, targets

    def on_test_epoch_end(self) -> None:
        """Log the test metrics, and compute the confusion matrix."""
        self._log_loss("test")
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()
        self._confusion = self.confusion.compute()
        self.confusion.reset()

    def _log_loss(self, split: str) -> None:
        self.log(f"{split}/loss", self.loss_sum.compute() / self.loss_count.compute())
        self.loss_sum.reset()
        self.loss_count.reset()

    def scores_by_class(self) -> ClassScores:
        """Return the accuracy of each class in the last test, i.e. its recall."""
        shares = self._confusion.diagonal() / self._confusion.sum(dim=1)
        return {"accuracy": rounded(shares.tolist())}

    def predict_step(self, batch: Batch, batch_idx: int) -> list[tuple[int, Prediction]]:
        """Return the index of each image in the data set, and its prediction."""
        return list(zip(batch.positions.tolist(), self.predict_images(batch.images), strict=True))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its learning rate schedule."""
        steps = int(self.trainer.estimated_stepping_batches)
        return build_optimizer(self.network, self.settings, steps)


def _mixing(settings: Settings, classes: int) -> nn.Module | None:
    choices: list[nn.Module] = []
    if settings.model.mixup:
        choices.append(v2.MixUp(alpha=settings.model.mixup, num_classes=classes))
    if settings.model.cutmix:
        choices.append(v2.CutMix(alpha=settings.model.cutmix, num_classes=classes))
    return v2.RandomChoice(choices) if choices else None
