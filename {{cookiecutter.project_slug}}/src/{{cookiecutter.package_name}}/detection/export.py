"""The network to export, which returns all boxes and scores before non-maximum suppression.

The outputs of a graph have fixed shapes, but the number of detected objects differs from image to
image. Boxes are therefore selected by the code that runs the model; see ``decode_outputs``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torchvision.models.detection import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import batched_nms

from ..errors import UsageError
from ..training.backbone import Normalisation
from .boxes import Prediction
from .module import DetectionModule

TASK = "object detection"
OUTPUTS = {
    "boxes": "x1 y1 x2 y2, relative to the width and height of the model input, 0 to 1",
    "scores": "the confidence of each box for each class, 0 to 1",
}

NOT_EXPORTABLE = {
    "fasterrcnn": "its second stage takes a variable number of boxes from the first stage",
    "dfine": "its code fixes the number of images in a batch while it is traced",
}


class DenseDetector(nn.Module):
    """A detector of torchvision without non-maximum suppression; its A anchors are constants."""

    anchors: Tensor
    sides: Tensor  # width, height, width and height of the model input

    def __init__(self, normalisation: Normalisation, model: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.model = model
        height, width = size
        images = torch.zeros(1, normalisation.mean.shape[1], height, width)
        with torch.inference_mode():
            maps = list(model.backbone(images).values())
            listed = ImageList(images, [size])
            anchors = model.anchor_generator(listed, maps)[0].clone()
        self.register_buffer("anchors", anchors)
        self.register_buffer("sides", torch.tensor([width, height] * 2))
        cells = [level.shape[2] * level.shape[3] for level in maps]
        self.levels = [len(anchors) // sum(cells) * count for count in cells]  # anchors by level

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes [B, A, 4] and scores [B, A, classes] of uint8 images [B, C, H, W]."""
        outputs = self.model.head(list(self.model.backbone(self.normalisation(images)).values()))
        logits, offsets = outputs["cls_logits"], outputs["bbox_regression"]
        if isinstance(self.model, FCOS):
            # sqrt(sigmoid(logits) * sigmoid(centerness)), computed with logarithms: onnxruntime's
            # sigmoid is not exact below 1e-8, and the square root would enlarge that error.
            log_scores = softplus(-logits) + softplus(-outputs["bbox_ctrness"])
            scores = (-log_scores / 2).exp()
            boxes = self.model.box_coder.decode(offsets, self.anchors)
        else:
            # The first class of SSD is the background, which is omitted.
            has_background = isinstance(self.model, SSD)
            scores = logits.softmax(dim=-1)[..., 1:] if has_background else logits.sigmoid()
            anchors = self.anchors.repeat(images.shape[0], 1)
            boxes = self.model.box_coder.decode_single(offsets.flatten(0, 1), anchors)
        shares = (boxes / self.sides).clamp(0, 1)
        return shares.reshape(-1, len(self.anchors), 4), scores


def exported_network(module: DetectionModule) -> DenseDetector:
    """Return the network to export, which maps uint8 images [B, C, H, W] to boxes and scores."""
    settings = module.settings
    name = settings.model.architecture
    if name in NOT_EXPORTABLE:
        raise UsageError(
            f"model.architecture={name} cannot be exported: {NOT_EXPORTABLE[name]}.\n"
            "Train fcos, retinanet or ssdlite to export, or use the checkpoint as it is."
        )
    network = module.network
    return DenseDetector(network.normalisation, network.model.model, settings.data.input_size)


def postprocessing(module: DetectionModule, network: DenseDetector) -> dict[str, Any]:
    """Return how boxes are selected, in words and as parameters of ``decode_outputs``."""
    model = network.model
    by_class = isinstance(model, SSD)  # SSD selects candidates by class, other detectors by level
    return {
        "steps": (
            "1. In each of the `levels` (numbers of consecutive boxes), keep the "
            "`candidates_per_level` best pairs of box and class whose score is above "
            "`score_threshold`. 2. Class by class, drop boxes that overlap a box with a higher "
            "score by an IoU above `nms_iou` (NMS). 3. Keep the `limit` best. Those with a score "
            "of `shown_from` or more are worth showing. Their place in the image follows from "
            "that of the resized image in the model input."
        ),
        "score_threshold": model.score_thresh,
        "levels": [sum(network.levels)] if by_class else network.levels,
        "candidates_per_level": model.topk_candidates * (len(module.classes) if by_class else 1),
        "nms_iou": model.nms_thresh,
        "limit": model.detections_per_img,
        "shown_from": module.settings.model.score_threshold,
    }


def decode_outputs(outputs: Sequence[Tensor], rules: Mapping[str, Any]) -> list[Prediction]:
    """Select boxes in the same way as torchvision; return a prediction for each image.

    Args:
        outputs: boxes [B, A, 4] and scores [B, A, classes].
        rules: the result of ``postprocessing``.
    """
    return [_select(boxes, scores, rules) for boxes, scores in zip(*outputs, strict=True)]


def _select(boxes: Tensor, scores: Tensor, rules: Mapping[str, Any]) -> Prediction:
    classes = scores.shape[1]
    candidates = []
    first = 0  # index of the first pair of box and class in the level
    for level in torch.split(scores, rules["levels"]):
        best, pairs = level.flatten().topk(min(rules["candidates_per_level"], level.numel()))
        above = best > rules["score_threshold"]
        candidates.append((best[above], pairs[above] + first))
        first += level.numel()
    best, pairs = (torch.cat(parts) for parts in zip(*candidates, strict=True))
    selected, labels = boxes[pairs // classes], pairs % classes
    keep = batched_nms(selected, best, labels, rules["nms_iou"])[: rules["limit"]]
    return Prediction(selected[keep], best[keep], labels[keep])
