# ~ if cookiecutter.task == "classification"
"""The parts of tracking that depend on the task: columns of tables, and embeddings."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..classification.dataset import Target, target_labels
from ..classification.module import ClassificationModule
from ..evaluation.score_counts import ImageResult


def labels(target: Target, classes: Sequence[str]) -> dict[str, Any]:
    """Return the column of the data table that describes a target: its label or its labels."""
    return {"label": _names(target_labels(target), classes)}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the table of predictions that are specific to this task."""
    return {
        "target": _names(target_labels(result.target), classes),
        "prediction": _names(result.prediction.labels, classes),
    }


def _names(labels: Sequence[int], classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in labels)


def embed(module: ClassificationModule, images: Tensor) -> Tensor:
    """Return the pooled features [B, D] before the last layer, of uint8 images [B, C, H, W]."""
    network: Any = module.network
    maps = network.backbone.forward_features(network.normalisation(images))
    pooled: Tensor = network.backbone.forward_head(maps, pre_logits=True)
    return pooled


def main_class(target: Tensor) -> int:
    """Return the first label, the colour of an embedded image; -1 without any."""
    return next(iter(target_labels(target.tolist())), -1)
# ~ elif cookiecutter.task == "detection"
# ~ if cookiecutter.scope == "complete"
"""The parts of tracking that depend on the task: boxes, columns of tables, and embeddings."""

# ~ else
"""The part of tracking that depends on the task: boxes in the form in which W&B draws them."""

# ~ endif
import math
from collections.abc import Sequence
from typing import Any

# ~ if cookiecutter.scope == "complete"
import torch
# ~ endif
from PIL import Image
from torch import Tensor

# ~ if cookiecutter.scope == "complete"
from ..detection.boxes import Prediction, Target
from ..detection.module import DetectionModule
from ..detection.scoring import NO_OBJECT, match
from ..evaluation.score_counts import ImageResult


# ~ else
from ..detection.boxes import Prediction, Target


# ~ endif
# ~ if cookiecutter.scope == "complete"
def labels(target: Target, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the data table that describe a target: its objects and classes."""
    names = sorted({classes[label] for label in target.labels.tolist()})
    return {"objects": len(target.labels), "labels": ", ".join(names)}


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
    """Return the spatial means [B, D] of all feature maps of uint8 images [B, C, H, W]."""
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


def main_class(target: Target) -> int:
    """Return the class of the largest object, the colour of an embedded image; -1 without any."""
    return int(target.labels[target.areas.argmax()]) if len(target.labels) else -1


# ~ endif
def overlay(
    target: Target | None, prediction: Prediction | None, classes: Sequence[str], _: Image.Image
) -> dict[str, Any]:
    """Return the boxes of a target and of a prediction as arguments of ``wandb.Image``."""
    boxes = {}
    if prediction is not None:
        boxes["prediction"] = box_data(
            prediction.boxes, prediction.labels, classes, prediction.scores
        )
    if target is not None:
        boxes["target"] = box_data(target.boxes, target.labels, classes)
    return {"boxes": boxes}


def box_data(
    boxes: Tensor, labels: Tensor, classes: Sequence[str], scores: Tensor | None = None
) -> dict[str, Any]:
    """Return boxes [N, 4] of relative x1, y1, x2, y2 in the format of ``wandb.Image``.

    They are clipped to the image, and left out if they are not finite. ``labels`` [N] are indices
    in ``classes``; ``scores`` [N] are those of a prediction.
    """
    data = []
    for index, (corners, label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
        if not all(map(math.isfinite, corners)):
            continue
        left, top, right, bottom = (min(max(value, 0), 1) for value in corners)
        position = {"minX": left, "minY": top, "maxX": right, "maxY": bottom}
        box = {"position": position, "class_id": label, "box_caption": classes[label]}
        if scores is not None:
            score = float(scores[index])
            box |= {"box_caption": f"{classes[label]} {score:.0%}", "scores": {"score": score}}
        data.append(box)
    return {"box_data": data, "class_labels": dict(enumerate(classes))}
# ~ elif cookiecutter.task == "segmentation"
# ~ if cookiecutter.scope == "complete"
"""The parts of tracking that depend on the task: masks, columns of tables, and embeddings."""

# ~ else
"""The part of tracking that depends on the task: masks in the form in which W&B draws them."""

# ~ endif
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# ~ if cookiecutter.scope == "complete"
from ..evaluation.score_counts import ImageResult
from ..segmentation.module import SegmentationModule
from ..segmentation.predicted_masks import Prediction, mask_image


# ~ else
from ..segmentation.predicted_masks import Prediction, mask_image


# ~ endif
# ~ if cookiecutter.scope == "complete"
def labels(target: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the data table that describe a target, a mask [H, W] of class ids."""
    return {"labels": _names(target.numpy(), classes)}


def columns(result: ImageResult, classes: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the table of predictions that are specific to this task."""
    masks = {"target": result.target, "prediction": result.prediction.mask}
    return {name: _names(mask, classes) for name, mask in masks.items()}


def _names(mask: Any, classes: Sequence[str]) -> str:
    return ", ".join(classes[label] for label in np.unique(mask) if label < len(classes))


def embed(module: SegmentationModule, images: Tensor) -> Tensor:
    """Return the spatial mean [B, D] of the last feature map of uint8 images [B, C, H, W]."""
    maps: Tensor = module.network.backbone(module.network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


def main_class(target: Any) -> int:
    """Return the class of most pixels, which decides the colour of an embedded image.

    Class 0, which is usually the background, and the ignored id 255 are not counted; -1 is
    returned if the mask has no other class.
    """
    counts = torch.bincount(target.flatten().long(), minlength=256)[1:255]
    return int(counts.argmax()) + 1 if counts.sum() else -1


# ~ endif
def overlay(
    target: Tensor | None,
    prediction: Prediction | None,
    classes: Sequence[str],
    picture: Image.Image,
) -> dict[str, Any]:
    """Return the masks of a target and of a prediction as arguments of ``wandb.Image``.

    Args:
        target: integer tensor [H, W] of class ids, or None.
        prediction: with a mask of class ids, or None.
        classes: the names of the classes.
        picture: the image that is logged; the masks are resized to its size.
    """
    masks = {"prediction": None if prediction is None else prediction.mask, "target": target}
    shown: dict[str, dict[str, Any]] = {}
    for key, mask in masks.items():
        if mask is not None:
            image = mask_image(mask.to(torch.uint8).cpu())
            ids = np.asarray(image.resize(picture.size, Image.Resampling.NEAREST))
            shown[key] = {"mask_data": ids, "class_labels": dict(enumerate(classes))}
    return {"masks": shown}
# ~ endif
