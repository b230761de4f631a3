"""What is sent to W&B for this task: masks, labels, results and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..evaluation.scores import ImageResult
from ..segmentation.module import SegmentationModule


def labels(target: Tensor | None, classes: list[str]) -> dict[str, Any]:
    """The columns of the data table that describe a target."""
    ids = [] if target is None else np.unique(target.numpy()).tolist()
    return {"labels": ", ".join(classes[label] for label in ids if label < len(classes))}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """The columns of the table of predictions that only this task has."""
    masks = {"target": result.target, "prediction": result.prediction.mask}
    return {
        name: ", ".join(classes[label] for label in np.unique(mask) if label < len(classes))
        for name, mask in masks.items()
    }


def embed(module: SegmentationModule, images: Tensor) -> Tensor:
    """The encoder's coarsest feature map of uint8 images [B, 3, S, S], averaged: [B, D]."""
    maps: Tensor = module.network.backbone(module.network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


def main_class(target: Any) -> int:
    """The class of most pixels, the first left out: it is the background mostly; -1 if none."""
    counts = torch.bincount(target.flatten().long(), minlength=256)[1:255]
    return int(counts.argmax()) + 1 if counts.sum() else -1
