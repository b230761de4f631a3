"""Weigh images, so that those of rare classes are drawn more often in training."""

from collections import Counter
from collections.abc import Collection, Iterable

import torch
from torch import Tensor

MAX_EPOCHS = 1 << 20  # more than any training run has


def image_weights(labels: Iterable[Collection[int]], balance: float) -> Tensor | None:
    """Return the weight with which each training image is drawn; None without balancing.

    The weight of a class is ``f ** -balance``, where ``f`` is the fraction of the images that have
    the class. An image has the weight of its rarest class. Images without objects have the weight
    of the most frequent class.

    Args:
        labels: the class indices of each image.
        balance: from 0, no balancing, to 1, at which all classes are drawn equally often if each
            image has one class.

    Returns:
        float64 tensor [images], or None if ``balance`` is 0.
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
    """Draw images with replacement by their weights, float64 [images].

    Returns:
        The keys of the images for ``SeededSamples`` in this epoch, which counts from 0.
    """
    order = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
    drawn: Counter[int] = Counter()
    keys = []
    for index in order:
        # An image that is drawn again is transformed differently: its key stands for an epoch that
        # is never trained.
        keys.append((epoch + drawn[index] * MAX_EPOCHS) * len(weights) + index)
        drawn[index] += 1
    return keys
