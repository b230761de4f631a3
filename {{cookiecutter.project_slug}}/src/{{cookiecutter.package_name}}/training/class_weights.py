"""Weigh the classes in the loss, so that rare classes count as much as frequent ones."""

import numpy as np
import torch
# ~ if cookiecutter.task == "segmentation"
from rich.progress import track
# ~ endif
from torch import Tensor

from ..data.datamodule import Datasets
# ~ if cookiecutter.task == "segmentation"
from ..data.images import UnreadableImageError
# ~ endif
from ..data.reading_summary import number_of
from ..errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from ..settings.schema import Settings

MAX_COUNTED = 200  # training masks whose pixels are counted


# ~ else
from ..settings.schema import Settings


# ~ endif
def with_class_weights(settings: Settings, datasets: Datasets) -> Settings:
    """Return the settings with ``loss.class_weights`` as numbers.

    The balanced weight of a class is ``n / (classes * n_class)``, as in scikit-learn, where ``n``
    and ``n_class`` count training {{ 'pixels' if cookiecutter.task == 'segmentation' else 'labels' }}; it is 1 for a class that does not occur.
    """
    chosen, classes = settings.loss.class_weights, datasets.classes
    if chosen is None:
        return settings
    # ~ if cookiecutter.task == "segmentation"
    if "cross_entropy" not in settings.model.loss:
        raise UsageError(
            "loss.class_weights has no effect: only cross_entropy has weights.\n"
            "Add cross_entropy to model.loss, or leave out loss.class_weights."
        )
    # ~ endif
    if chosen == "balanced":
        counts = _count(datasets)
        balanced = counts.sum() / (len(classes) * np.maximum(counts, 1))
        weights = np.where(counts > 0, balanced, 1.0).round(6).tolist()
        shown = ", ".join(
            f"{name} {weight:.3g}" for name, weight in zip(classes, weights, strict=True)
        )
        datasets.reading.note(f"Weights of the classes in the loss: {shown}.")
        if absent := [name for name, count in zip(classes, counts, strict=True) if not count]:
            datasets.reading.note(
                f"None of {', '.join(absent)} was counted, so the weight is 1. To choose it: "
                "loss.class_weights=[<a number for each class>]"
            )
    elif len(chosen) != len(classes):
        raise UsageError(
            f"loss.class_weights has {number_of(len(chosen), 'numbers')}, but the classes are "
            f"{', '.join(classes)}.\nName a weight for each of them, in this order."
        )
    else:
        weights = list(chosen)
    loss = settings.loss.model_copy(update={"class_weights": weights})
    return settings.model_copy(update={"loss": loss})


def weights_tensor(settings: Settings) -> Tensor | None:
    """Return the weights of the classes, float tensor [classes], or None without weights."""
    weights = settings.loss.class_weights
    return torch.tensor(weights) if isinstance(weights, list) else None


# ~ if cookiecutter.task == "segmentation"
def _count(datasets: Datasets) -> np.ndarray:
    """Count the pixels of each class in masks of the training split, int64 array [classes]."""
    counts = np.zeros(len(datasets.classes), dtype=np.int64)
    images = datasets.train.images
    total = len(datasets.train)
    chosen = np.linspace(0, total - 1, min(MAX_COUNTED, total)).astype(int)
    for index in track(chosen, description="Counting pixels", transient=True):
        try:
            (_, mask), _ = images[index]
        except UnreadableImageError:
            continue  # the data loader reports it
        counts += np.bincount(mask.numpy().ravel(), minlength=256)[: len(counts)]
    return counts
# ~ else
def _count(datasets: Datasets) -> np.ndarray:
    """Count the labels of the training split by class, int64 array [classes]."""
    counts = datasets.reading.objects["train"]
    return np.array([counts[name] for name in datasets.classes])
# ~ endif
