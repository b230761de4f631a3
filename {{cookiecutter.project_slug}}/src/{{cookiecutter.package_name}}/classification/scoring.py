"""Compute the results of each image of a test batch."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from ..evaluation.scores import ImageResult, ScoreCounts, StepResults
from .dataset import Batch, Prediction


def score_batch(
    batch: Batch, logits: Tensor, counted: Tensor, classes: Sequence[str]
) -> StepResults:
    """Compute the results of a batch; the loss of an image is its cross-entropy.

    The probability of every class counts as a prediction of that class, so that a threshold is the
    lowest probability at which a class is assigned.

    Args:
        batch: the images and their targets.
        logits: float tensor [B, classes].
        counted: bool tensor [B], true for the images that this process counts.
        classes: the class names.
    """
    images, targets, logits, positions = (
        part[counted].cpu() for part in (batch.images, batch.targets, logits, batch.positions)
    )
    losses = functional.cross_entropy(logits, targets, reduction="none")
    probabilities = logits.softmax(dim=1)
    confidences, labels = probabilities.max(dim=1)
    counts = ScoreCounts(classes)
    all_labels = np.tile(np.arange(len(classes)), len(targets))
    counts.add(
        all_labels,
        probabilities.flatten().numpy(),
        all_labels == targets.repeat_interleave(len(classes)).numpy(),
    )
    counts.add_targets(targets.numpy())
    np.add.at(counts.confusion, (targets.numpy(), labels.numpy()), 1)
    results = zip(
        positions.tolist(),
        images,
        targets.tolist(),
        map(Prediction, labels.tolist(), confidences.tolist()),
        confidences.tolist(),
        losses.tolist(),
        (labels == targets).tolist(),
        strict=True,
    )
    return StepResults(images=[ImageResult(*values) for values in results], counts=counts)
