"""What is sent to W&B for this task: masks, labels, results and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..evaluation.scores import ImageResult
from ..segmentation.masks import fitted
from ..segmentation.module import SegmentationModule


def as_mask(mask: Any, size: tuple[int, int]) -> np.ndarray:
    """Class ids, uint8 [H, W] in the size of a picture; what is no id from 0 to 254 becomes 255.

    Args:
        mask: a tensor or array of ids, [H, W] or [1, H, W], of any type.
        size: width and height.
    """
    tensor = torch.as_tensor(mask).detach().cpu()
    while tensor.ndim > 2:
        tensor = tensor[0]
    values = tensor.double().nan_to_num(255.0, 255.0, 255.0).round()
    ids = torch.where((values >= 0) & (values < 255), values, 255.0).to(torch.uint8)
    return fitted(ids, size)


def overlay(
    target: Tensor | None, prediction: Any, classes: Sequence[str], picture: Image.Image
) -> dict[str, Any]:
    """The masks of prediction and target."""
    named = dict(enumerate(classes))
    masks = {"prediction": None if prediction is None else prediction.mask, "target": target}
    return {
        "masks": {
            key: {"mask_data": as_mask(mask, picture.size), "class_labels": named}
            for key, mask in masks.items()
            if mask is not None
        }
    }


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
