"""Images with several labels: their loss, and their metrics."""

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision

from .dataset import UNLABELLED


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Compute the binary cross-entropy, averaged over the classes.

    The arguments have the meaning of those of ``torch.nn.functional.cross_entropy``.

    Args:
        logits: float tensor [B, classes].
        targets: tensor [B, classes] of values from 0 to 1.
        weight: weights of the classes, float tensor [classes].
        label_smoothing: fraction of each target that is replaced by 1/2.
        reduction: ``mean`` of the images, or ``none`` for a tensor [B].
    """
    smoothed = targets.float() * (1 - label_smoothing) + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, smoothed, weight, reduction="none")
    return losses.mean() if reduction == "mean" else losses.mean(dim=1)


class LabelMetrics(Metric):
    """The average precision and the F1 of each class, and their means.

    A class without targets has no value (NaN), and the means leave it out.

    Attributes:
        by_class: ``AP`` and ``f1`` of each class, float tensors [classes], as of the last compute.

    Args:
        threshold: lowest probability at which a label is predicted, for the F1.
    """

    full_state_update = False
    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.by_class: dict[str, Tensor] = {}
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Add the logits [B, classes] of a batch, and its targets, int [B, classes]."""
        counted = targets[:, 0] != UNLABELLED
        self.logits.append(logits[counted])
        self.targets.append(targets[counted])

    def compute(self) -> dict[str, Tensor]:
        """Return the means ``mAP`` and ``f1``, and set ``by_class``."""
        # After a synchronisation of processes, a state is a tensor instead of a list.
        logits, targets = (
            torch.cat(part) if isinstance(part, list) else part
            for part in (self.logits, self.targets)
        )
        known = targets.sum(dim=0) > 0
        precision = logits.new_full((logits.shape[1],), torch.nan)
        if known.any():
            precision[known] = multilabel_average_precision(
                logits[:, known].sigmoid(),
                targets[:, known],
                num_labels=int(known.sum()),
                average="none",
                validate_args=False,
            )
        predicted = logits.sigmoid() >= self.threshold
        correct = (predicted & (targets == 1)).sum(dim=0)
        f1 = 2 * correct / (predicted.sum(dim=0) + targets.sum(dim=0))
        f1 = f1.where(known, torch.nan)
        self.by_class = {"AP": precision, "f1": f1}
        return {"mAP": precision.nanmean(), "f1": f1.nanmean()}
