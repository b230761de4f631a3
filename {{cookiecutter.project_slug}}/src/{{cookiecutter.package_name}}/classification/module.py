"""The LightningModule for image classification: loss, metrics and predictions."""

# ~ if cookiecutter.scope == "complete"
from typing import Any, Self

# ~ else
from typing import Any

# ~ endif
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
from torchvision.transforms import v2

from ..data.datamodule import counted_images
# ~ if cookiecutter.scope == "complete"
from ..errors import UsageError
# ~ endif
from ..evaluation.score_counts import ClassScores, StepResults, rounded
# ~ if cookiecutter.scope == "complete"
from ..settings.classification import has_several_labels
# ~ endif
from ..settings.schema import Settings
# ~ if cookiecutter.scope == "complete"
from ..training.class_weights import weights_tensor
# ~ endif
from ..training.optimizer import build_optimizer
# ~ if cookiecutter.scope == "complete"
from ..training.parameter_groups import freeze, keep_frozen_norms
# ~ endif
from ..training.steps import log_losses, log_scores
from .dataset import UNLABELLED, Batch, Prediction
# ~ if cookiecutter.scope == "complete"
from .multilabel import LabelMetrics, binary_cross_entropy
from .network import Classifier
from .scoring import MacroF1, decide, predictions, score_batch


# ~ else
from .network import Classifier
from .scoring import MacroF1, predictions, score_batch


# ~ endif
class ClassificationModule(LightningModule):
    # ~ if cookiecutter.scope == "complete"
    """Train a classifier with cross-entropy, and measure accuracy and macro F1.

    If images may have several labels, the loss is the binary cross-entropy of each class, and mAP
    takes the place of the accuracy.
    """

    class_weights: Tensor | None

    # ~ else
    """Train a classifier with cross-entropy, and measure accuracy and macro F1."""

    # ~ endif
    def __init__(self, settings: Settings, classes: list[str], *, download: bool = True) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.tested_split = "test"  # the names of the metrics of a test begin with it
        count = len(classes)
        self.network = Classifier(settings, count, download=download)
        if settings.model.channels_last:
            self.network.to(memory_format=torch.channels_last)
        if settings.model.compile:
            self.network.compile()  # in place: the names in the state dict stay
        self.mix = _mixing(settings, count)
        # ~ if cookiecutter.scope == "complete"
        freeze(self.network, settings.model.freeze)
        several = has_several_labels(settings.data)
        self.threshold = settings.model.score_threshold if several else None
        self.loss = binary_cross_entropy if several else functional.cross_entropy
        self.register_buffer("class_weights", weights_tensor(settings), persistent=False)
        # ~ endif
        # Validating the arguments would cost time in every step.
        options: dict[str, Any] = {"ignore_index": UNLABELLED, "validate_args": False}
        # ~ if cookiecutter.scope == "complete"
        metrics = MetricCollection(
            {"labels": LabelMetrics(settings.model.score_threshold)}
            if several
            else {
                "accuracy": MulticlassAccuracy(count, average="micro", **options),
                "f1": MacroF1(count, average="macro", **options),
            }
        )
        # ~ else
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(count, average="micro", **options),
                "f1": MacroF1(count, average="macro", **options),
            }
        )
        # ~ endif
        self.val_metrics = metrics.clone()
        self.test_metrics = metrics.clone()
        # Lightning's mean would be wrong if processes measure different numbers of images.
        self.mean_loss = MeanMetric(nan_strategy="disable")
        self.confusion = MulticlassConfusionMatrix(count, **options)

    # ~ if cookiecutter.scope == "complete"
    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self.network)
        return self

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of uint8 images [B, C, H, W]."""
        logits: Tensor = self.network(images)
        return logits

    def predict_images(self, images: Tensor) -> list[Prediction]:
        """Return a prediction for each of the uint8 images [B, C, H, W]."""
        # ~ if cookiecutter.scope == "complete"
        probabilities, chosen = decide(self(images).float(), self.threshold)
        return predictions(probabilities, chosen, self.threshold)

        # ~ else
        return predictions(self(images).float())

        # ~ endif
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, after MixUp or CutMix if they are enabled."""
        images, targets = batch.images, batch.targets
        if self.mix is not None:
            # ~ if cookiecutter.scope == "complete"
            # MixUp blends the targets of several labels as they are, which needs float.
            images, targets = self.mix(
                images.float(), targets if targets.ndim == 1 else targets.float()
            )
        loss = self.loss(
            self(images).float(),
            targets,
            weight=None if self.class_weights is None else self.class_weights.float(),
            label_smoothing=self.settings.model.label_smoothing,
        )
            # ~ else
            images, targets = self.mix(images.float(), targets)
        loss = functional.cross_entropy(
            self(images).float(), targets, label_smoothing=self.settings.model.label_smoothing
        )
            # ~ endif
        log_losses(self, len(images), loss=loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the metrics with a batch."""
        if len(batch.images):  # otherwise, all are unreadable
            logits, targets, _ = self._measure(batch)
            self.val_metrics.update(logits, targets)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_scores("val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> StepResults | None:
        """Update the metrics with a batch, and return the results of its images."""
        if not len(batch.images):
            return None
        logits, targets, losses = self._measure(batch)
        self.test_metrics.update(logits, targets)
        counted = counted_images(batch.positions, self.trainer)
        # ~ if cookiecutter.scope == "complete"
        if self.threshold is None:
            self.confusion.update(logits, targets)
        return score_batch(batch, logits, losses, counted, self.classes, self.threshold)

    # ~ else
        self.confusion.update(logits, targets)
        return score_batch(batch, logits, losses, counted, self.classes)

    # ~ endif
    def _measure(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Add a batch to the mean loss, and return its logits, targets and losses.

        # ~ if cookiecutter.scope == "complete"
        Images that another process measures, too, get the target ``UNLABELLED`` in this process.

        Raises:
            UsageError: if the data have several labels for each image, and the model has not, or
                the reverse.
        # ~ else
        Images that another process measures, too, get the target ``UNLABELLED`` in this process.
        # ~ endif
        """
        logits, targets = self(batch.images).float(), batch.targets.clone()
        # ~ if cookiecutter.scope == "complete"
        if (targets.ndim == 2) != (self.threshold is not None):
            kind = "several labels" if targets.ndim == 2 else "a single label"
            raise UsageError(
                f"The data have {kind} for each image, but the model was trained on other data.\n"
                "Evaluate it with the data settings of its training, such as data.multilabel."
            )
        losses = self.loss(logits, targets, reduction="none")
        # ~ else
        losses = functional.cross_entropy(logits, targets, reduction="none")
        # ~ endif
        counted = counted_images(batch.positions, self.trainer)
        self.mean_loss.update(losses[counted])
        targets[~counted] = UNLABELLED
        return logits, targets, losses

    def on_test_epoch_end(self) -> None:
        """Log the test metrics, and compute the metrics of each class."""
        self._log_scores(self.tested_split, self.test_metrics)
        # ~ if cookiecutter.scope == "complete"
        if self.threshold is None:
            confusion = self.confusion.compute()
            self._by_class = {"accuracy": confusion.diagonal() / confusion.sum(dim=1)}
            self.confusion.reset()
        else:
            metrics: Any = self.test_metrics
            by_class = metrics["labels"].by_class
            self._by_class = {"AP": by_class["AP"], f"f1_at_{self.threshold:g}": by_class["f1"]}

        # ~ else
        confusion = self.confusion.compute()
        self._by_class = {"accuracy": confusion.diagonal() / confusion.sum(dim=1)}
        self.confusion.reset()

        # ~ endif
    def _log_scores(self, split: str, metrics: MetricCollection) -> None:
        log_scores(self, split, {"loss": self.mean_loss.compute(), **metrics.compute()})
        self.mean_loss.reset()
        metrics.reset()

    def scores_by_class(self) -> ClassScores:
        # ~ if cookiecutter.scope == "complete"
        """Return the metrics of each class in the last test.

        They are the accuracy of the class, i.e. its recall, or, if images may have several labels,
        its average precision and its F1.
        """
        # ~ else
        """Return the accuracy of each class, i.e. its recall, in the last test."""
        # ~ endif
        return {name: rounded(values.tolist()) for name, values in self._by_class.items()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its learning rate schedule."""
        return build_optimizer(self.network, self.settings, self.trainer)


def _mixing(settings: Settings, classes: int) -> nn.Module | None:
    choices: list[nn.Module] = []
    if settings.model.mixup:
        choices.append(v2.MixUp(alpha=settings.model.mixup, num_classes=classes))
    if settings.model.cutmix:
        choices.append(v2.CutMix(alpha=settings.model.cutmix, num_classes=classes))
    return v2.RandomChoice(choices) if choices else None
