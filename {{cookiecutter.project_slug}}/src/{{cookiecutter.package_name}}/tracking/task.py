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
from collections.abc import Sequence
from typing import Any

# ~ if cookiecutter.scope == "complete"
import torch
from torch import Tensor

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
def overlay(sample: Any, classes: Sequence[str], _: object) -> dict[str, Any]:
    """Return the boxes of a target and of a prediction as arguments of ``wandb.Image``."""
    drawn = {"prediction": sample.prediction, "target": sample.target}
    boxes = {key: box_data(value, classes) for key, value in drawn.items() if value is not None}
    return {"boxes": boxes}


def box_data(objects: Target | Prediction, classes: Sequence[str]) -> dict[str, Any]:
    """Return boxes as W&B takes them: clipped to the image, and none that is not finite."""
    data = []
    for index in objects.boxes.isfinite().all(dim=1).nonzero().flatten().tolist():
        left, top, right, bottom = objects.boxes[index].clamp(0, 1).tolist()
        position = {"minX": left, "minY": top, "maxX": right, "maxY": bottom}
        label = int(objects.labels[index])
        box = {"position": position, "class_id": label, "box_caption": classes[label]}
        if isinstance(objects, Prediction):
            score = float(objects.scores[index])
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
# ~ if cookiecutter.scope == "complete"
from PIL import Image
from torch import Tensor

from ..segmentation.class_list import IGNORE_INDEX
from ..segmentation.module import SegmentationModule
from ..segmentation.predicted_masks import Prediction, mask_image


# ~ else
from PIL import Image

from ..segmentation.predicted_masks import mask_image


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
def overlay(sample: Any, classes: Sequence[str], picture: Image.Image) -> dict[str, Any]:
    """Return the masks of a target and of a prediction, in the size of the image that is logged."""
    masks = {"prediction": sample.prediction and sample.prediction.mask, "target": sample.target}
    shown: dict[str, dict[str, Any]] = {}
    for key, mask in masks.items():
        if mask is not None:
            image = mask_image(mask.to(torch.uint8).cpu())
            ids = np.asarray(image.resize(picture.size, Image.Resampling.NEAREST))
            shown[key] = {"mask_data": ids, "class_labels": dict(enumerate(classes))}
    return {"masks": shown}
# ~ endif
