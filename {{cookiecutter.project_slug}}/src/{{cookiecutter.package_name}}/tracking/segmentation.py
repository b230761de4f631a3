"""The parts of tracking that depend on the task: columns of tables, and embeddings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..evaluation.scores import ImageResult
from ..segmentation.module import SegmentationModule


def labels(target: Tensor | None, classes: list[str]) -> dict[str, Any]:
    """Return the columns of the data table that describe a target, a mask [H, W] of class ids."""
    ids = [] if target is None else np.unique(target.numpy()).tolist()
    return {"labels": ", ".join(classes[label] for label in ids if label < len(classes))}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the table of predictions that are specific to this task."""
    masks = {"target": result.target, "prediction": result.prediction.mask}
    return {
        name: ", ".join(classes[label] for label in np.unique(mask) if label < len(classes))
        for name, mask in masks.items()
    }


def embed(module: SegmentationModule, images: Tensor) -> Tensor:
    """Return the spatial mean [B, D] of the last feature map of uint8 images [B, 3, S, S]."""
    maps: Tensor = module.network.backbone(module.network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


def main_class(target: Any) -> int:
    """Return the class of most pixels, which decides the colour of an embedded image.

    Class 0, which is usually the background, and the ignored id 255 are not counted; -1 is
    returned if the mask has no other class.
    """
    counts = torch.bincount(target.flatten().long(), minlength=256)[1:255]
    return int(counts.argmax()) + 1 if counts.sum() else -1
