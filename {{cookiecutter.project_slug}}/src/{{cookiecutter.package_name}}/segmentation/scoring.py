"""Compute the results of each image of a test batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..evaluation.score_counts import ImageResult, ScoreCounts, StepResults
from .class_list import IGNORE_INDEX
from .dataset import Batch
from .predicted_masks import Prediction, without_padding

SCORED_PIXELS = 2000  # evenly spaced pixels of an image; counting all would take minutes


def score_batch(
    batch: Batch, logits: Tensor, counted: Tensor, confusion: Tensor, classes: Sequence[str]
) -> StepResults:
    """Compute the results of the counted images, bool [B]; their loss is the mean cross-entropy.

    Logits are float [B, classes, H, W]; ``confusion`` counts pixels, and its rows are targets.
    """
    logits, targets = logits[counted], batch.targets[counted]
    known = targets != IGNORE_INDEX
    losses = functional.cross_entropy(logits, targets, ignore_index=IGNORE_INDEX, reduction="none")
    probabilities = logits.softmax(dim=1)
    confidences, masks = probabilities.max(dim=1)
    pixels = known.sum(dim=(1, 2)).clamp(min=1)
    means = [
        ((values * known).sum(dim=(1, 2)) / pixels).tolist()
        for values in (confidences, losses, masks == targets)
    ]
    counts = ScoreCounts(classes)
    counts.confusion += confusion.cpu().numpy()
    _count_scores(counts, probabilities, targets)
    images, ids = batch.images[counted].cpu(), targets.to(torch.uint8).cpu()
    found = map(without_padding, map(Prediction, masks.to(torch.uint8).cpu()), images, ids)
    results = zip(batch.positions[counted].tolist(), images, ids, found, *means, strict=True)
    # The loss of an image without annotated pixels means nothing.
    labelled = known.any(dim=(1, 2)).tolist()
    shown = [ImageResult(*values) for values, keep in zip(results, labelled, strict=True) if keep]
    return StepResults(images=shown, counts=counts)


def _count_scores(counts: ScoreCounts, probabilities: Tensor, targets: Tensor) -> None:
    """Count the probability of every class at about ``SCORED_PIXELS`` pixels of each image."""
    step = targets[0].numel() // SCORED_PIXELS | 1 if len(targets) else 1  # odd, to use all columns
    ids = targets.flatten(1)[:, ::step]
    known = ids != IGNORE_INDEX
    scores = probabilities.flatten(2)[:, :, ::step].transpose(1, 2)[known].cpu()  # [N, classes]
    labels = torch.arange(scores.shape[1]).expand_as(scores)
    ids = ids[known].cpu()
    columns = (labels, scores, labels == ids[:, None])
    counts.add(*(column.flatten().numpy() for column in columns))
    counts.add_targets(ids.numpy())
