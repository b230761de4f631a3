"""What W&B is told of this task: masks, labels, judgements and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..segmentation.dataset import Batch
from ..segmentation.masks import IGNORE_INDEX
from ..segmentation.module import Prediction, SegmentationModule
from .judging import Judged, ScoreCounts

MOST_PIXELS = 20_000  # of a batch, for the charts of scores: all of them would take minutes


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
    network: Any = module.network
    maps: Tensor = network.model.encoder(network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


def main_class(target: Any) -> int:
    """The class of most pixels, the first left out: it is the background mostly; -1 if none."""
    counts = torch.bincount(target.flatten().long(), minlength=256)[1:255]
    return int(counts.argmax()) + 1 if counts.sum() else -1
