# ~ if cookiecutter.task == "classification"
"""The parts of tracking that depend on the task: the classes of an image, and embeddings."""

from typing import Any

from torch import Tensor

from ..classification.dataset import Prediction, Target, target_labels
from ..classification.module import ClassificationModule


def target_classes(target: Target | Tensor) -> list[int]:
    """Return the label or the labels of a target."""
    return target_labels(target.tolist() if isinstance(target, Tensor) else target)


def predicted_classes(prediction: Prediction) -> list[int]:
    """Return the predicted label or labels."""
    return prediction.labels


def embed(module: ClassificationModule, images: Tensor) -> Tensor:
    """Return the pooled features [B, D] before the last layer, of uint8 images [B, C, H, W]."""
    network: Any = module.network
    maps = network.backbone.forward_features(network.normalisation(images))
    pooled: Tensor = network.backbone.forward_head(maps, pre_logits=True)
    return pooled
# ~ elif cookiecutter.task == "detection"
# ~ if cookiecutter.scope == "complete"
"""The parts of tracking that depend on the task: classes of an image, boxes, and embeddings."""

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


# ~ else
from ..detection.boxes import Prediction, Target


# ~ endif
# ~ if cookiecutter.scope == "complete"
def target_classes(target: Target) -> list[int]:
    """Return the class of each annotated object, the largest object first."""
    classes: list[int] = target.labels[target.areas.argsort(descending=True)].tolist()
    return classes


def predicted_classes(prediction: Prediction) -> list[int]:
    """Return the class of each predicted object."""
    classes: list[int] = prediction.labels.tolist()
    return classes


def embed(module: DetectionModule, images: Tensor) -> Tensor:
    """Return the spatial means [B, D] of all feature maps of uint8 images [B, C, H, W]."""
    outputs: list[Any] = []
    backbone = module.network.backbone
    with backbone.register_forward_hook(lambda *arguments: outputs.append(arguments[-1])):
        module(images)
    return torch.cat([maps.mean(dim=(2, 3)) for maps in _maps(outputs)], dim=1)


def _maps(output: Any) -> list[Tensor]:
    """Return the tensors [B, C, H, W] in nested lists, tuples and dictionaries."""
    if isinstance(output, Tensor):
        return [output] if output.ndim == 4 else []
    inner = output.values() if isinstance(output, dict) else output
    return [maps for part in inner for maps in _maps(part)]


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
"""The parts of tracking that depend on the task: classes of an image, masks, and embeddings."""

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
from ..segmentation.class_list import IGNORE_INDEX
from ..segmentation.module import SegmentationModule
from ..segmentation.predicted_masks import Prediction, mask_image


# ~ else
from ..segmentation.predicted_masks import Prediction, mask_image


# ~ endif
# ~ if cookiecutter.scope == "complete"
def target_classes(target: Tensor) -> list[int]:
    """Return the classes in a mask [H, W] by falling area, but class 0 as the last.

    Class 0 is usually the background.
    """
    areas = torch.bincount(target.flatten().long(), minlength=IGNORE_INDEX)[:IGNORE_INDEX]
    found: list[int] = areas.nonzero().flatten().tolist()
    return sorted(found, key=lambda label: (label == 0, -int(areas[label])))


def predicted_classes(prediction: Prediction) -> list[int]:
    """Return the classes in a predicted mask, in the same order."""
    return target_classes(prediction.mask)


def embed(module: SegmentationModule, images: Tensor) -> Tensor:
    """Return the spatial mean [B, D] of the last feature map of uint8 images [B, C, H, W]."""
    maps: Tensor = module.network.backbone(module.network.normalisation(images))[-1]
    return maps.mean(dim=(2, 3))


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
