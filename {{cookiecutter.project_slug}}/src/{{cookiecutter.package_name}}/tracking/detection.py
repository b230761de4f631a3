"""The parts of tracking that depend on the task: columns of tables, and embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..detection.module import DetectionModule
from ..detection.scoring import NO_OBJECT, match
from ..evaluation.scores import ImageResult


def labels(target: Any, classes: list[str]) -> dict[str, Any]:
    """Return the columns of the data table that describe a target: its objects and classes."""
    indices = [] if target is None else target.labels.tolist()
    names = sorted({classes[index] for index in indices})
    return {"objects": len(indices), "labels": ", ".join(names)}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the table of predictions that are specific to this task."""
    matches = match(result.prediction, result.target)
    objects = int((~result.target.crowd).sum())
    matched = int((matches >= 0).sum())
    return {
        "target": ", ".join(classes[label] for label in result.target.labels.tolist()),
        "prediction": ", ".join(classes[label] for label in result.prediction.labels.tolist()),
        "objects": objects,
        "found": matched,
        "missed": objects - matched,
        "false": int((matches == NO_OBJECT).sum()),
    }


def embed(module: DetectionModule, images: Tensor) -> Tensor:
    """Return the spatial means of all feature maps of the backbone, concatenated.

    Args:
        module: the trained module.
        images: uint8 tensor [B, 3, S, S].

    Returns:
        Float tensor [B, D], where D is the sum of the channels of all feature maps.
    """
    outputs: list[Any] = []
    backbone = module.network.backbone
    hook = backbone.register_forward_hook(lambda *arguments: outputs.append(arguments[-1]))
    try:
        module(images)
    finally:
        hook.remove()
    return torch.cat([maps.mean(dim=(2, 3)) for maps in _maps(outputs)], dim=1)


def _maps(output: Any) -> list[Tensor]:
    """Return the tensors [B, C, H, W] in nested lists, tuples and dictionaries."""
    if isinstance(output, Tensor):
        return [output] if output.ndim == 4 else []
    inner = output.values() if isinstance(output, dict) else output
    return [maps for part in inner for maps in _maps(part)]


def main_class(target: Any) -> int:
    """Return the class of the largest object, the colour of an embedded image; -1 without any."""
    return int(target.labels[target.areas.argmax()]) if len(target.labels) else -1
