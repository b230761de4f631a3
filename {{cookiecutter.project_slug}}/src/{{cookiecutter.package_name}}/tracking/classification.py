"""The parts of tracking that depend on the task: columns of tables, and embeddings."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..classification.module import ClassificationModule
from ..evaluation.scores import ImageResult


def labels(target: int | None, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the data table that describe a target, the index of a class."""
    return {"label": None if target is None else classes[target]}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the table of predictions that are specific to this task."""
    return {"target": classes[result.target], "prediction": classes[result.prediction.label]}


def embed(module: ClassificationModule, images: Tensor) -> Tensor:
    """Return the pooled features [B, D] before the last layer, of uint8 images [B, 3, S, S]."""
    network: Any = module.network
    maps = network.backbone.forward_features(network.normalisation(images))
    pooled: Tensor = network.backbone.forward_head(maps, pre_logits=True)
    return pooled


def main_class(target: Any) -> int:
    """Return the index of the class that decides the colour of an embedded image."""
    return int(target)
