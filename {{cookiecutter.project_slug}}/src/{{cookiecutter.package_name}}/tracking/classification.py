"""What is sent to W&B for this task: labels, results and embeddings of images."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..classification.module import ClassificationModule
from ..evaluation.scores import ImageResult


def labels(target: int | None, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of the data table that describe a target."""
    return {"label": None if target is None else classes[target]}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of the table of predictions that only this task has."""
    return {"target": classes[result.target], "prediction": classes[result.prediction.label]}


def embed(module: ClassificationModule, images: Tensor) -> Tensor:
    """What the classifier sees of uint8 images [B, 3, S, S]: [B, D]."""
    network: Any = module.network
    maps = network.backbone.forward_features(network.normalisation(images))
    pooled: Tensor = network.backbone.forward_head(maps, pre_logits=True)
    return pooled


def main_class(target: Any) -> int:
    """The class that colours a point."""
    return int(target)
