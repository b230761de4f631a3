"""Choose the labels of images, and compute the results of each image of a test batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassF1Score

from ..evaluation.score_counts import ImageResult, ScoreCounts, StepResults
from .dataset import Batch, Prediction

# ~ if cookiecutter.scope == "complete"
NO_LABEL = "no label"  # the row of false labels and the column of missed ones
# ~ endif
RANKED = 5  # classes in the ranking of a prediction


class MacroF1(MulticlassF1Score):
    """The mean F1 of the classes that have images; the F1 of any other class is undefined."""

    def compute(self) -> Tensor:
        """Return the mean, a scalar: F1 is ``2 tp / (2 tp + fp + fn)``."""
        hits, wrong, missed = (torch.as_tensor(part) for part in (self.tp, self.fp, self.fn))
        scores = 2 * hits / (2 * hits + wrong + missed)
        return scores[hits + missed > 0].mean()


def ranked(probabilities: Tensor) -> list[list[tuple[int, float]]]:
    """Return the most probable classes of each row of [B, classes], with their probabilities."""
    ordered = probabilities.sort(dim=1, descending=True, stable=True)
    labels, values = ordered.indices[:, :RANKED].tolist(), ordered.values[:, :RANKED].tolist()
    return [list(zip(*row, strict=True)) for row in zip(labels, values, strict=True)]


# ~ if cookiecutter.scope == "complete"
def decide(logits: Tensor, threshold: float | None) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the classes and the chosen labels, both [B, classes].

    With ``threshold``, an image has all labels whose probability reaches it; with None, the most
    probable class is its only label.
    """
    if threshold is not None:
        probabilities = logits.sigmoid()
        return probabilities, probabilities >= threshold
    return logits.softmax(dim=1), _one_hot(logits.argmax(dim=1), logits.shape[1])


def predictions(probabilities: Tensor, chosen: Tensor, threshold: float | None) -> list[Prediction]:
    """Return the predictions for probabilities and a choice of labels, both [B, classes]."""
    if threshold is None:
        rankings = ranked(probabilities)
        return [Prediction([pairs[0][0]], [pairs[0][1]], ranking=pairs) for pairs in rankings]
    predicted = [Prediction([], [], values) for values in probabilities.tolist()]
    pairs = zip(chosen.nonzero().tolist(), probabilities[chosen].tolist(), strict=True)
    for (position, label), confidence in pairs:
        predicted[position].labels.append(label)
        predicted[position].confidences.append(confidence)
    return predicted


# ~ else
def predictions(logits: Tensor) -> list[Prediction]:
    """Return the most probable classes and their probabilities for logits [B, classes]."""
    return [Prediction(*pairs[0], ranking=pairs) for pairs in ranked(logits.softmax(dim=1))]


# ~ endif
def score_batch(
    batch: Batch,
    logits: Tensor,  # float [B, classes]
    losses: Tensor,  # float [B]
    counted: Tensor,  # bool [B]
    classes: Sequence[str],
    # ~ if cookiecutter.scope == "complete"
    threshold: float | None,
    # ~ endif
) -> StepResults:
    """Compute the results of the counted images of a batch.

    The probability of every class counts as a prediction of that class, so that a threshold is the
    # ~ if cookiecutter.scope == "complete"
    lowest probability at which a class is assigned. If images may have several labels, see
    ``threshold`` in ``decide``, the confusion matrix has the correct labels of each class on its
    diagonal, the missed ones in its last column, and the false ones in its last row.
    # ~ else
    lowest probability at which a class is assigned.
    # ~ endif
    """
    images, targets, logits, losses, positions = (
        part[counted].cpu()
        for part in (batch.images, batch.targets, logits, losses, batch.positions)
    )
    # ~ if cookiecutter.scope == "complete"
    probabilities, chosen = decide(logits, threshold)
    actual = targets.bool() if targets.ndim == 2 else _one_hot(targets, len(classes))
    counts = ScoreCounts(classes, background="" if threshold is None else NO_LABEL)
    # ~ else
    probabilities = logits.softmax(dim=1)
    chosen, actual = (_one_hot(part, len(classes)) for part in (logits.argmax(dim=1), targets))
    counts = ScoreCounts(classes)
    # ~ endif
    counts.add(
        np.tile(np.arange(len(classes)), len(targets)),
        probabilities.flatten().numpy(),
        actual.flatten().numpy(),
    )
    counts.add_targets(actual.nonzero()[:, 1].numpy())
    # ~ if cookiecutter.scope == "complete"
    if threshold is None:
        counts.confusion += (actual.T.long() @ chosen.long()).numpy()
    else:
        diagonal = np.arange(len(classes))
        counts.confusion[diagonal, diagonal] = (actual & chosen).sum(dim=0)
        counts.confusion[:-1, -1] = (actual & ~chosen).sum(dim=0)
        counts.confusion[-1, :-1] = (chosen & ~actual).sum(dim=0)
    found = predictions(probabilities, chosen, threshold)
    # ~ else
    counts.confusion += (actual.T.long() @ chosen.long()).numpy()
    found = predictions(logits)
    # ~ endif
    results = zip(
        positions.tolist(),
        images,
        targets.tolist(),
        found,
        probabilities.amax(dim=1).tolist(),
        losses.tolist(),
        (actual == chosen).all(dim=1).tolist(),
        strict=True,
    )
    return StepResults(images=[ImageResult(*values) for values in results], counts=counts)


def _one_hot(labels: Tensor, count: int) -> Tensor:
    return functional.one_hot(labels, count).bool()
