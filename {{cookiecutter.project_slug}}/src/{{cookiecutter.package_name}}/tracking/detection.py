"""What is sent to W&B for this task: boxes, labels, results and embeddings of images."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..detection.boxes import Prediction, Target
from ..detection.matching import NO_OBJECT, match
from ..detection.module import DetectionModule
from ..evaluation.scores import ImageResult


def as_boxes(boxes: Any, labels: Any, classes: Sequence[str], scores: Any = None) -> dict[str, Any]:
    """Boxes as W&B lays them over an image; those that are not finite are left out.

    Args:
        boxes: [N, 4], x1 y1 x2 y2 as shares of the image; cut off at its border.
        labels: [N], indices of ``classes``.
        classes: the names.
        scores: [N], or None for boxes that are known.
    """
    corners = torch.as_tensor(boxes).detach().double().cpu().reshape(-1, 4)
    names = dict(enumerate(classes))
    data = []
    for index, (corner, label) in enumerate(
        zip(corners, torch.as_tensor(labels).cpu().reshape(-1).tolist(), strict=True)
    ):
        score = None if scores is None else float(torch.as_tensor(scores).reshape(-1)[index])
        if not torch.isfinite(corner).all():
            continue
        left, top, right, bottom = corner.clamp(0, 1).tolist()
        name = names.setdefault(int(label), str(int(label)))
        entry: dict[str, Any] = {
            "position": {
                "minX": min(left, right),
                "minY": min(top, bottom),
                "maxX": max(left, right),
                "maxY": max(top, bottom),
            },
            "class_id": int(label),
            "box_caption": name if score is None else f"{name} {score:.0%}",
        }
        data.append(entry if score is None else entry | {"scores": {"score": score}})
    return {"box_data": data, "class_labels": names}


def overlay(
    target: Target | None, prediction: Prediction | None, classes: Sequence[str], _: Image.Image
) -> dict[str, Any]:
    """The boxes of prediction and target."""
    boxes = {}
    if prediction is not None:
        boxes["prediction"] = as_boxes(
            prediction.boxes, prediction.labels, classes, prediction.scores
        )
    if target is not None:
        boxes["target"] = as_boxes(target.boxes, target.labels, classes)
    return {"boxes": boxes}


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
