"""What W&B is told of this task: boxes, labels, judgements and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from ..detection.boxes import Prediction, Target
from ..detection.dataset import Batch
from ..detection.module import DetectionModule
from .judging import Judged, ScoreCounts

MATCHING_IOU = 0.5  # a box is right if it covers an object of its class at least this well


def labels(target: Any, classes: list[str]) -> dict[str, Any]:
    """The columns of the data table that describe a target."""
    own = [] if target is None else target.labels.tolist()
    named = sorted({classes[label] for label in own})
    return {"objects": len(own), "labels": ", ".join(named)}


def judge(
    module: DetectionModule, batch: Batch, detections: Sequence[Prediction], counts: ScoreCounts
) -> list[Judged]:
    """One row for each image; its loss is 1 - F1 of the boxes above ``model.score_threshold``.

    Args:
        module: brings the threshold.
        batch: images and targets.
        detections: all boxes of each image, however weak.
        counts: takes in the score of every box.
    """
    threshold = module.settings.model.score_threshold
    rows = []
    for position, image, target, every in zip(
        batch.positions.tolist(), batch.images.cpu(), batch.targets, detections, strict=True
    ):
        known = Target(
            target.boxes.cpu(),
            target.labels.cpu(),
            target.crowd.cpu(),
            target.areas.cpu(),
            target.size,
        )
        found = Prediction(
            every.boxes.detach().float().cpu(),
            every.scores.detach().float().cpu(),
            every.labels.cpu(),
        )
        hits = matches(found, known) >= 0
        for label in range(len(module.classes)):
            own = (found.labels == label).numpy()
            there = int(((known.labels == label) & ~known.crowd).sum())
            counts.add(label, found.scores.numpy()[own], hits[own], there)
        sure = (found.scores >= threshold).numpy()
        shown = Prediction(*(part[torch.from_numpy(sure)] for part in found))
        confuse(counts.confusion, shown, known)
        objects = int((~known.crowd).sum())
        right = int(hits[sure].sum())
        both = objects + int(sure.sum())
        loss = 1 - 2 * right / both if both else 0.0
        confidence = float(shown.scores.mean()) if len(shown.scores) else 0.0
        rows.append(Judged(position, image, known, shown, confidence, loss, loss == 0))
    return rows


def confuse(confusion: np.ndarray, shown: Prediction, target: Target) -> None:
    """Add an image to the counts: each box with the object it takes, whatever its class."""
    taken = matches(shown, target, same_class=False)
    for label, other in zip(shown.labels.tolist(), taken.tolist(), strict=True):
        confusion[target.labels[other] if other >= 0 else -1, label] += 1
    missed = ~target.crowd
    missed[taken[taken >= 0]] = False
    for label in target.labels[missed].tolist():
        confusion[label, -1] += 1


def matches(found: Prediction, target: Target, *, same_class: bool = True) -> np.ndarray:
    """Which object each box takes, the surest box first; -1 for none.

    A box takes the free object that it covers best, if IoU is at least 0.5; one of its own class,
    unless ``same_class`` is false.
    """
    taken = np.full(len(found.labels), -1)
    if not len(found.labels) or not len(target.labels):
        return taken
    overlap = box_iou(found.boxes, target.boxes)
    if same_class:
        overlap[found.labels[:, None] != target.labels[None]] = 0
    overlap[:, target.crowd] = 0
    for index in found.scores.argsort(descending=True).tolist():
        best = int(overlap[index].argmax())
        if overlap[index, best] >= MATCHING_IOU:
            taken[index] = best
            overlap[:, best] = 0
    return taken


def columns(judged: Judged, classes: Sequence[str]) -> dict[str, Any]:
    """The columns that only this task has."""
    named = {
        name: ", ".join(classes[label] for label in part.labels.tolist())
        for name, part in (("target", judged.target), ("prediction", judged.prediction))
    }
    right = int((matches(judged.prediction, judged.target) >= 0).sum())
    objects = int((~judged.target.crowd).sum())
    return named | {
        "objects": objects,
        "found": right,
        "missed": objects - right,
        "false": len(judged.prediction.labels) - right,
    }


def confusion(module: DetectionModule, counts: ScoreCounts) -> tuple[np.ndarray, list[str]]:
    """Counts [targets, predictions] of the last test, and the names of its rows and columns."""
    return counts.confusion, [*module.classes, "background"]


def embed(module: DetectionModule, images: Tensor) -> Tensor:
    """The feature maps of uint8 images [B, 3, S, S], each averaged, side by side: [B, D]."""
    heard: list[Any] = []
    hook = module.network.features.register_forward_hook(lambda *heads: heard.append(heads[-1]))
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
