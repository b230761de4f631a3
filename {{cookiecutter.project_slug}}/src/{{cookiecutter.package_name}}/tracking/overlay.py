# ~ if cookiecutter.task == "detection"
"""Boxes in the form in which W&B draws them over an image."""

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from ..detection.boxes import Prediction, Target


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
    """Return boxes in the format of ``wandb.Image``, without boxes that are not finite.

    Args:
        boxes: float tensor [N, 4] of x1, y1, x2, y2 as shares of the image; clipped to the image.
        labels: integer tensor [N] of indices in ``classes``.
        classes: the names of the classes.
        scores: float tensor [N], or None for the boxes of a target.
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
"""Masks in the form in which W&B draws them over an image."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..segmentation.masks import Prediction, mask_image


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
