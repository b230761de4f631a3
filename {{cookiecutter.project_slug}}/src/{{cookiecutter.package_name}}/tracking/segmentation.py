"""What W&B is told of this task: masks, labels, judgements and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..segmentation.dataset import Batch
from ..segmentation.masks import IGNORE_INDEX, fitted
from ..segmentation.module import Prediction, SegmentationModule
from .judging import Judged, ScoreCounts

MOST_PIXELS = 20_000  # of a batch, for the charts of scores: all of them would take minutes


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


def judge(
    _module: SegmentationModule, batch: Batch, logits: Tensor, counts: ScoreCounts
) -> list[Judged]:
    """One row for each image; its loss is the mean cross-entropy of its pixels.

    Args:
        _module: not needed for it.
        batch: images and targets.
        logits: [B, classes, S, S], what the module made of it.
        counts: takes in every class's score of pixels spread evenly over the batch.
    """
    logits = logits.detach().float()
    losses = functional.cross_entropy(
        logits, batch.targets, ignore_index=IGNORE_INDEX, reduction="none"
    ).cpu()
    scores = logits.softmax(dim=1)
    _count(scores, batch.targets, counts)
    confidences, masks = (part.cpu() for part in scores.max(dim=1))
    targets = batch.targets.cpu()
    known = targets != IGNORE_INDEX
    rows = []
    for index, position in enumerate(batch.positions.tolist()):
        own = known[index]
        pixels = max(int(own.sum()), 1)
        rows.append(
            Judged(
                position,
                batch.images[index].cpu(),
                targets[index].to(torch.uint8),
                Prediction(masks[index].to(torch.uint8)),
                float(confidences[index][own].sum() / pixels),
                float(losses[index][own].sum() / pixels),
                float((masks[index] == targets[index])[own].sum() / pixels),
            )
        )
    return rows


def _count(scores: Tensor, targets: Tensor, counts: ScoreCounts) -> None:
    places = (targets != IGNORE_INDEX).flatten().nonzero().squeeze(1)
    places = places[:: max(1, len(places) // MOST_PIXELS)]
    chosen = scores.permute(0, 2, 3, 1).flatten(0, 2)[places].cpu().numpy()
    named = targets.flatten()[places].cpu().numpy()
    for label in range(chosen.shape[1]):
        right = named == label
        counts.add(label, chosen[:, label], right, int(right.sum()))


def columns(judged: Judged, classes: Sequence[str]) -> dict[str, Any]:
    """The columns that only this task has: the classes of the target and of the prediction."""
    masks = {"target": judged.target, "prediction": judged.prediction.mask}
    return {
        name: ", ".join(classes[label] for label in np.unique(mask) if label < len(classes))
        for name, mask in masks.items()
    }


def confusion(module: SegmentationModule, _: ScoreCounts) -> tuple[np.ndarray, list[str]]:
    """Counts [targets, predictions] of pixels, and the names of the rows and columns."""
    return module.counts.numpy(), module.classes


def embed(module: SegmentationModule, images: Tensor) -> Tensor:
    """The encoder's coarsest feature map of uint8 images [B, 3, S, S], averaged: [B, D]."""
    maps: Tensor = module.network.backbone(module.network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


def main_class(target: Any) -> int:
    """The class of most pixels, the first left out: it is the background mostly; -1 if none."""
    counts = torch.bincount(target.flatten().long(), minlength=256)[1:255]
    return int(counts.argmax()) + 1 if counts.sum() else -1
