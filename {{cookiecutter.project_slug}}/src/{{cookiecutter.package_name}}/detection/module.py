"""The LightningModule for object detection: loss, metrics and predictions."""

# ~ if cookiecutter.scope == "complete"
from typing import Self

# ~ endif
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ..data.datamodule import counted_images
from ..evaluation.score_counts import ClassScores, StepResults, rounded
from ..settings.schema import Settings
from ..training.optimizer import build_optimizer
# ~ if cookiecutter.scope == "complete"
from ..training.parameter_groups import freeze, keep_frozen_norms
# ~ endif
from ..training.steps import log_losses, log_scores
from .boxes import Prediction, without_padding
from .dataset import Batch
from .metrics import CocoScores
# ~ if cookiecutter.scope == "complete"
from .network import build_network
# ~ else
from .network import Detector
# ~ endif
from .scoring import score_batch


class DetectionModule(LightningModule):
    """Train a detector with the losses of its architecture, and measure COCO's mAP."""

    def __init__(self, settings: Settings, classes: list[str], *, download: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.tested_split = "test"  # the names of the metrics of a test begin with it
        # ~ if cookiecutter.scope == "complete"
        self.network = build_network(settings, len(classes), download=download)
        freeze(self.network, settings.model.freeze)
        # ~ else
        self.network = Detector(settings, len(classes), download=download)
        # ~ endif
        if settings.model.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if settings.model.compile:
            self.network.backbone.compile()  # in place: the names in the state dict stay
        self.scores = CocoScores(classes)

    # ~ if cookiecutter.scope == "complete"
    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self.network)
        return self

    # ~ endif
    def forward(self, images: Tensor) -> list[Prediction]:
        """Detect objects in uint8 images [B, C, H, W], without regard to the score threshold."""
        predictions: list[Prediction] = self.network(images)
        return predictions

    def predict_images(self, images: Tensor) -> list[Prediction]:
        """Detect objects of at least ``model.score_threshold`` in uint8 images [B, C, H, W]."""
        confident = []
        for prediction in self(images):
            chosen = prediction.scores >= self.settings.model.score_threshold
            confident.append(Prediction(*(part[chosen].cpu() for part in prediction)))
        return confident

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; if it has several terms, each is logged separately."""
        parts = self.network.losses(batch.images, batch.targets)
        loss = torch.stack(list(parts.values())).sum()
        terms = {f"loss_{name.removeprefix('loss_')}": part for name, part in parts.items()}
        log_losses(self, len(batch.images), loss=loss, **(terms if len(parts) > 1 else {}))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        if len(batch.images):  # otherwise, all are unreadable
            self.scores.update(batch.positions, self(batch.images), batch.targets)

    def test_step(self, batch: Batch, batch_idx: int) -> StepResults | None:
        """Update the metrics with a batch, and return the results of its images."""
        if not len(batch.images):
            return None
        detections = [*map(without_padding, self(batch.images), batch.images, batch.targets)]
        self.scores.update(batch.positions, detections, batch.targets)
        counted = counted_images(batch.positions, self.trainer)
        threshold = self.settings.model.score_threshold
        return score_batch(batch, detections, counted, self.classes, threshold)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        log_scores(self, "val", self.scores.compute().overall)

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        scores = self.scores.compute()
        log_scores(self, self.tested_split, scores.overall)
        self._by_class = scores.by_class

    def scores_by_class(self) -> ClassScores:
        """Return AP of each class in the last test, over all objects and by object size."""
        return {name: rounded(values) for name, values in self._by_class.items()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its learning rate schedule."""
        return build_optimizer(self.network, self.settings, self.trainer)
