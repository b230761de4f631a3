"""The LightningModule for semantic segmentation: loss, metrics and predictions."""

# ~ if cookiecutter.scope == "complete"
from collections.abc import Callable
from typing import Self

# ~ else
from collections.abc import Callable

# ~ endif
import segmentation_models_pytorch as smp
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from ..data.datamodule import counted_images
from ..evaluation.score_counts import ClassScores, StepResults, rounded
from ..settings.schema import Settings
# ~ if cookiecutter.scope == "complete"
from ..training.class_weights import weights_tensor
# ~ endif
from ..training.optimizer import build_optimizer
# ~ if cookiecutter.scope == "complete"
from ..training.parameter_groups import freeze, keep_frozen_norms
# ~ endif
from ..training.steps import log_losses, log_scores
from .class_list import IGNORE_INDEX
from .dataset import Batch
from .network import Segmenter
from .predicted_masks import Prediction
from .scoring import score_batch


class PixelConfusion(MulticlassConfusionMatrix):
    """A confusion matrix of pixels.

    With deterministic algorithms, that of torchmetrics needs ``pixels * classes ** 2`` numbers.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predictions, as logits [B, classes, H, W] or as [B, H, W], and targets [B, H, W]."""
        known, count = target != IGNORE_INDEX, self.num_classes
        predicted = preds.argmax(dim=1) if preds.ndim > target.ndim else preds
        places = target[known] * count + predicted[known]
        self.confmat += torch.bincount(places, minlength=count**2).reshape(count, count)


class SegmentationModule(LightningModule):
    """Train a segmenter, and measure mean IoU and Dice from a confusion matrix of all pixels."""

    # ~ if cookiecutter.scope == "complete"
    class_weights: Tensor | None

    # ~ endif
    def __init__(self, settings: Settings, classes: list[str], *, download: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.tested_split = "test"  # the names of the metrics of a test begin with it
        self.network = Segmenter(settings, len(classes), download=download)
        if settings.model.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if settings.model.compile:
            self.network.compile()  # in place: the names in the state dict stay
        # ~ if cookiecutter.scope == "complete"
        freeze(self.network, settings.model.freeze)
        self.register_buffer("class_weights", weights_tensor(settings), persistent=False)
        # ~ endif
        losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "cross_entropy": self._cross_entropy,
            "dice": smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_INDEX),
            "focal": smp.losses.FocalLoss("multiclass", ignore_index=IGNORE_INDEX),
        }
        self.losses = [losses[name] for name in settings.model.loss]
        # Lightning's mean would be wrong if processes measure different numbers of images.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.loss_count = SumMetric(nan_strategy="disable")
        self.confusion = PixelConfusion(
            len(classes), ignore_index=IGNORE_INDEX, validate_args=False
        )

    # ~ if cookiecutter.scope == "complete"
    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self.network)
        return self

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes, H, W] of uint8 images [B, C, H, W]."""
        logits: Tensor = self.network(images)
        return logits

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses that ``model.loss`` lists, a scalar tensor.

        It is 0 if no pixel is annotated, since a mean over no pixel would be NaN.
        """
        known = (targets != IGNORE_INDEX).any()
        targets = targets.clone()
        targets[:1, :1, :1] = targets[:1, :1, :1].where(known, 0)
        return torch.stack([loss(logits, targets) for loss in self.losses]).sum() * known

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        # The mean of PyTorch has no deterministic form on a GPU.
        # ~ if cookiecutter.scope == "complete"
        weights = None if self.class_weights is None else self.class_weights.float()
        losses = functional.cross_entropy(
            logits, targets, weights, ignore_index=IGNORE_INDEX, reduction="none"
        )
        known = targets != IGNORE_INDEX
        shares = known if weights is None else weights[targets.where(known, 0)] * known
        return losses.sum() / shares.sum().clamp(min=1e-6)

        # ~ else
        losses = functional.cross_entropy(
            logits, targets, ignore_index=IGNORE_INDEX, reduction="none"
        )
        return losses.sum() / (targets != IGNORE_INDEX).sum()

        # ~ endif
    def predict_images(self, images: Tensor) -> list[Prediction]:
        """Return a predicted mask [H, W] for each of the uint8 images [B, C, H, W]."""
        return [Prediction(mask) for mask in self(images).argmax(dim=1).to(torch.uint8).cpu()]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, a scalar tensor."""
        loss = self.loss(self(batch.images).float(), batch.targets)
        log_losses(self, len(batch.images), loss=loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        if len(batch.images):  # otherwise, all are unreadable
            self.confusion.update(*self._add_loss(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> StepResults | None:
        """Update the metrics with a batch, and return the results of its images."""
        if not len(batch.images):
            return None
        logits, targets = self._add_loss(batch)
        confusion = self.confusion(logits, targets)  # of this batch; it is also added to the total
        counted = counted_images(batch.positions, self.trainer)
        return score_batch(batch, logits, counted, confusion, self.classes)

    def _add_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch to the mean loss, and return its logits and targets.

        It is the mean of the losses of the images: ``dice`` of a batch would depend on its size.
        Images without annotated pixels are not counted. Images that another process measures, too,
        get the target ``IGNORE_INDEX`` in this process.
        """
        logits, targets = self(batch.images).float(), batch.targets
        if self.trainer.world_size > 1:
            counted = counted_images(batch.positions, self.trainer)
            targets = targets.where(counted[:, None, None], IGNORE_INDEX)
        images = zip(logits[:, None], targets[:, None], strict=True)
        losses = torch.stack([self.loss(*image) for image in images])
        known = (targets != IGNORE_INDEX).any(dim=(1, 2))
        self.loss_sum.update(losses.sum())  # 0 for images without annotated pixels
        self.loss_count.update(known.sum())
        return logits, targets

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_scores(self.tested_split)

    def _log_scores(self, split: str) -> None:
        loss = self.loss_sum.compute() / self.loss_count.compute()
        self.loss_sum.reset()
        self.loss_count.reset()
        self._confusion = self.confusion.compute().cpu()  # an Apple GPU has no float64
        self.confusion.reset()
        iou, dice = overlap(self._confusion)
        log_scores(self, split, {"loss": loss, "mIoU": iou.nanmean(), "dice": dice.nanmean()})

    def scores_by_class(self) -> ClassScores:
        """Return IoU and Dice of each class in the last test, None for a class that is absent."""
        iou, dice = overlap(self._confusion)
        return {"iou": rounded(iou.tolist()), "dice": rounded(dice.tolist())}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its learning rate schedule."""
        return build_optimizer(self.network, self.settings, self.trainer)


def overlap(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Compute IoU and Dice of each class: ``tp / (tp + fp + fn)`` and ``2 tp / (2 tp + fp + fn)``.

    Args:
        counts: int64 tensor [classes, classes], a confusion matrix whose rows are target classes.

    Returns:
        Two float tensors [classes]; NaN for a class in neither the targets nor the predictions.
    """
    hits = counts.diagonal().double()
    either = counts.sum(dim=0) + counts.sum(dim=1)  # 2 tp + fp + fn
    return (hits / (either - hits)).float(), (2 * hits / either).float()
