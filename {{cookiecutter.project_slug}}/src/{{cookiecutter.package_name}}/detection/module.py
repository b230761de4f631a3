"""The training logic of this task: losses, metrics, optimiser."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ..data.datamodule import own_share
from ..evaluation.scores import ClassScores, StepResults, rounded
from ..settings.tree import Settings
from ..training.callbacks.progress import is_read
from ..training.optimizer import build_optimizer, clip_gradients
from ..training.sharding import shard
from .boxes import Prediction
from .dataset import Batch
from .metrics import CocoScores, Scores
from .network import build_network
from .scoring import score_batch


class DetectionModule(LightningModule):
    """Train a detector with its own losses; measure COCO's mAP."""

    def __init__(self, settings: Settings, classes: list[str], *, download: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.network = build_network(
            settings.model,
            classes=len(classes),
            image_size=settings.data.image_size,
            download=download,
        )
        if settings.model.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if settings.model.compile:
            self.network.features.compile()  # in place: names in checkpoints stay as they are
        self.scores = CocoScores(classes)

    def forward(self, images: Tensor) -> list[Prediction]:
        """All boxes, however weak, of uint8 images [B, 3, S, S]."""
        found: list[Prediction] = self.network(self._arranged(images))
        return found

    def _arranged(self, images: Tensor) -> Tensor:
        if self.settings.model.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def predict_images(self, images: Tensor) -> list[Prediction]:
        """The boxes in uint8 images [B, 3, S, S] that reach ``model.score_threshold``."""
        shown = []
        for one in self(images):
            sure = one.scores >= self.settings.model.score_threshold
            shown.append(Prediction(*(part[sure].cpu() for part in one)))
        return shown

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the parts of the loss are logged by their own names."""
        parts = self.network.losses(self._arranged(batch.images), batch.targets)
        loss = torch.stack(list(parts.values())).sum()
        if is_read(self.trainer):
            named = {"train/loss": loss}
            if len(parts) > 1:
                for name, part in parts.items():
                    named[f"train/loss_{name.removeprefix('loss_')}"] = part
            self.log_dict(named, batch_size=len(batch.images), on_step=True, on_epoch=False)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Detect in one batch."""
        self.scores.update(batch.positions, self(batch.images), batch.targets)

    def test_step(self, batch: Batch, batch_idx: int) -> StepResults:
        """Detect in one batch; returns the results of its images."""
        detections = self(batch.images)
        self.scores.update(batch.positions, detections, batch.targets)
        own = own_share(batch.positions, self.trainer)
        threshold = self.settings.model.score_threshold
        return score_batch(batch, detections, own, self.classes, threshold)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's metrics."""
        self._log_scores("val", self.scores.compute())

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the split."""
        scores = self.scores.compute()
        self._log_scores("test", scores)
        self._by_class = scores.by_class

    def _log_scores(self, split: str, scores: Scores) -> None:
        for name, value in scores.overall.items():
            self.log(f"{split}/{name}", value, prog_bar=name == "mAP")

    def scores_by_class(self) -> ClassScores:
        """Average precision of each class in the last test, and by size of its objects."""
        return {name: rounded(values) for name, values in self._by_class.items()}

    def predict_step(self, batch: Batch, batch_idx: int) -> list[tuple[int, Prediction]]:
        """Detect in one batch; each prediction comes with the position of its image."""
        return list(zip(batch.positions.tolist(), self.predict_images(batch.images), strict=True))

    def configure_model(self) -> None:
        """Split the weights over the processes if ``trainer=fsdp``."""
        if self.device_mesh is not None:
            shard(self.network, self.network.features, self.device_mesh, methods=["losses"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW or SGD with warm-up and cosine."""
        steps = int(self.trainer.estimated_stepping_batches)
        return build_optimizer(self.network, self.settings, steps)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip here: Lightning refuses to with a fused optimiser under mixed precision."""
        norm = clip_gradients(self.network, self.settings.optimizer.clip_norm)
        if is_read(self.trainer):
            self.log("train/grad_norm", norm)
            # As a tensor here: Lightning would copy a number to the GPU, and wait for it.
            self.log("train/lr", torch.tensor(optimizer.param_groups[0]["lr"]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in what a reader of the file alone needs."""
        checkpoint["settings"] = self.settings.model_dump(mode="json", by_alias=True)
        checkpoint["classes"] = self.classes
