"""Weigh images, so that those of rare classes are drawn more often in training."""

from collections import Counter
from collections.abc import Collection, Iterable

import torch
from torch import Tensor

MAX_EPOCHS = 1 << 20  # more than any training run has


def image_weights(labels: Iterable[Collection[int]], balance: float) -> Tensor | None:
    """Return the weight with which each training image is drawn, float64 [images].

    The weight of a class is ``f ** -balance``, where ``f`` is the fraction of the images that have
    the class: with 1, classes are drawn equally often; with 0, the result is None. An image has the
    weight of its rarest class, or without objects that of the most frequent class.
    """
    if not balance:
        return None
    images = [set(present) for present in labels]
    counts = Counter(label for present in images for label in present)
    weights = {label: (count / len(images)) ** -balance for label, count in counts.items()}
    smallest = min(weights.values(), default=1.0)
    values = [max((weights[label] for label in present), default=smallest) for present in images]
    return torch.tensor(values, dtype=torch.float64)


def draw_keys(weights: Tensor, count: int, epoch: int, generator: torch.Generator) -> list[int]:
    """Draw images with replacement; return their keys for ``SeededSamples`` in this epoch."""
    drawn: Counter[int] = Counter()
    keys = []
    for index in torch.multinomial(weights, count, replacement=True, generator=generator).tolist():
        # An image that is drawn again is transformed differently: its key stands for an epoch that
        # is never trained.
        keys.append((epoch + drawn[index] * MAX_EPOCHS) * len(weights) + index)
        drawn[index] += 1
    return keys
