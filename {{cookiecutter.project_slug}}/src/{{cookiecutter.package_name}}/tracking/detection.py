"""What is sent to W&B for this task: boxes, labels, results and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..detection.matching import NO_OBJECT, match
from ..detection.module import DetectionModule
from ..evaluation.scores import ImageResult


def labels(target: Any, classes: list[str]) -> dict[str, Any]:
    """The columns of the data table that describe a target."""
    own = [] if target is None else target.labels.tolist()
    named = sorted({classes[label] for label in own})
    return {"objects": len(own), "labels": ", ".join(named)}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of the table of predictions that only this task has."""
    matches = match(result.prediction, result.target)
    objects = int((~result.target.crowd).sum())
    found = int((matches >= 0).sum())
    return {
        "target": ", ".join(classes[label] for label in result.target.labels.tolist()),
        "prediction": ", ".join(classes[label] for label in result.prediction.labels.tolist()),
        "objects": objects,
        "found": found,
        "missed": objects - found,
        "false": int((matches == NO_OBJECT).sum()),
    }


def embed(module: DetectionModule, images: Tensor) -> Tensor:
    """The feature maps of uint8 images [B, 3, S, S], each averaged, side by side: [B, D]."""
    heard: list[Any] = []
    hook = module.network.backbone.register_forward_hook(lambda *heads: heard.append(heads[-1]))
    try:
        module(images)
    finally:
        hook.remove()
    return torch.cat([one.mean(dim=(2, 3)) for one in _maps(heard)], dim=1)


def _maps(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.ndim == 4 else []
    inner = output.values() if isinstance(output, dict) else output
    return [one for part in inner for one in _maps(part)]


def main_class(target: Any) -> int:
    """The class of the largest object, which colours a point; -1 without objects."""
    return int(target.labels[target.areas.argmax()]) if len(target.labels) else -1
