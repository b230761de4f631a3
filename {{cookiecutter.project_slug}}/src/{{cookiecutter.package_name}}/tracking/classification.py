"""What W&B is told of this task: labels, judgements and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from ..classification.dataset import Batch
from ..classification.module import ClassificationModule, Prediction
from .judging import Judged, ScoreCounts


def labels(target: int | None, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of the data table that describe a target."""
    return {"label": None if target is None else classes[target]}


def judge(
    _module: ClassificationModule, batch: Batch, logits: Tensor, counts: ScoreCounts
) -> list[Judged]:
    """One row for each image; its loss is the cross-entropy.

    Args:
        _module: not needed for it.
        batch: images and targets.
        logits: [B, classes], what the module made of it.
        counts: takes in every class's score of every image.
    """
    scores = logits.detach().float().softmax(dim=1).cpu()
    losses = functional.cross_entropy(logits.detach().float(), batch.targets, reduction="none")
    targets = batch.targets.cpu()
    for label in range(scores.shape[1]):
        right = (targets == label).numpy()
        counts.add(label, scores[:, label].numpy(), right, int(right.sum()))
    confidences, labels = scores.max(dim=1)
    return [
        Judged(position, image, target, Prediction(label, sure), sure, loss, label == target)
        for position, image, target, label, sure, loss in zip(
            batch.positions.tolist(),
            batch.images.cpu(),
            targets.tolist(),
            labels.tolist(),
            confidences.tolist(),
            losses.tolist(),
            strict=True,
        )
    ]


def columns(judged: Judged, classes: Sequence[str]) -> dict[str, Any]:
    """The columns that only this task has."""
    return {"target": classes[judged.target], "prediction": classes[judged.prediction.label]}


def confusion(module: ClassificationModule, _: ScoreCounts) -> tuple[np.ndarray, list[str]]:
    """Counts [targets, predictions] of the last test, and the names of its rows and columns."""
    return module.counts.numpy(), module.classes


def embed(module: ClassificationModule, images: Tensor) -> Tensor:
    """What the classifier sees of uint8 images [B, 3, S, S]: [B, D]."""
    network: Any = module.network
    maps = network.backbone.forward_features(network.normalisation(images))
    pooled: Tensor = network.backbone.forward_head(maps, pre_logits=True)
    return pooled


def main_class(target: Any) -> int:
    """The class that colours a point."""
    return int(target)
