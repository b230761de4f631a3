"""Images with several labels: their loss, and their metrics."""

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

from .dataset import UNLABELLED


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Compute the binary cross-entropy, averaged over the classes, with smoothing towards 1/2.

    The arguments are those of ``torch.nn.functional.cross_entropy``: ``logits`` and ``targets``,
    from 0 to 1, are [B, classes], and ``reduction`` is ``mean``, or ``none`` for a tensor [B].
    """
    smoothed = targets.float() * (1 - label_smoothing) + label_smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, smoothed, weight, reduction="none")
    return losses.mean() if reduction == "mean" else losses.mean(dim=1)


class LabelMetrics(Metric):
    """The average precision and, for a probability of ``threshold``, the F1, as means of classes.

    A class without targets has no value (NaN), and the means leave it out. ``by_class`` has ``AP``
    and ``f1`` of each class, float tensors [classes], as of the last compute.
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
        logits, targets = dim_zero_cat(self.logits), dim_zero_cat(self.targets)
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
