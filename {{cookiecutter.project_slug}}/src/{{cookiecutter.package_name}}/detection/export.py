"""What is exported of this task: all boxes that a detector considers, and how to choose from them.

A graph has outputs of fixed shapes, so the choice, which is not of fixed shape, is left to whoever
runs it; ``from_outputs`` is how.
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
from .boxes import Prediction
from .module import DetectionModule

TASK = "object detection"
RESIZE = "the whole image, stretched to this size"
OUTPUTS = {
    "boxes": "x1 y1 x2 y2, as shares of the image's width and height, 0 to 1",
    "scores": "how sure each class is in each box, 0 to 1",
}

# For the model card: the same in Pillow's and numpy's words, of boxes that are worth showing.
FIT = "image.resize({size}, Image.Resampling.BILINEAR)"
USE = """\
rules = about["postprocessing"]


def overlap(one, other):
    width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = max(width, 0) * max(height, 0)
    return both / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both + 1e-9)


found = []
places, labels = np.nonzero(scores[0] >= rules["shown_from"])
for index in np.argsort(-scores[0][places, labels]):
    box, label = boxes[0][places[index]], labels[index]
    surer = [other for other, same, _ in found if same == label]
    if all(overlap(box, other) <= rules["nms_iou"] for other in surer):
        found.append((box, label, scores[0][places[index], label]))
for box, label, score in found[: rules["limit"]]:
    print(about["classes"][label], score, box * [*image.size, *image.size])  # in pixels
"""

_WHOLE = {
    "fasterrcnn": "it looks again at the boxes it has chosen, so it is no graph of fixed shapes",
    "dfine": "its code fixes the number of images in a batch while it is traced",
}


class DenseDetector(nn.Module):
    """A detector of torchvision without its choice of boxes; its anchors are constants."""

    anchors: Tensor

    def __init__(self, normalisation: nn.Module, model: Any, image_size: int) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.model = model
        self.image_size = image_size
        images = torch.zeros(1, 3, image_size, image_size)
        with torch.inference_mode():
            maps = list(model.backbone(images).values())
            listed = ImageList(images, [(image_size, image_size)])
            anchors = model.anchor_generator(listed, maps)[0].clone()
        self.register_buffer("anchors", anchors)
        places = [one.shape[2] * one.shape[3] for one in maps]
        self.levels = [len(anchors) // sum(places) * one for one in places]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, A, 4] and scores [B, A, classes] of uint8 images [B, 3, S, S]."""
        found = self.model.head(list(self.model.backbone(self.normalisation(images)).values()))
        logits, offsets = found["cls_logits"], found["bbox_regression"]
        if isinstance(self.model, FCOS):
            # The root of both sigmoids' product; those of onnxruntime end at 1e-8, too far from 0.
            doubts = softplus(-logits) + softplus(-found["bbox_ctrness"])
            scores = (-doubts / 2).exp()
            boxes = self.model.box_coder.decode(offsets, self.anchors)
        else:
            # Without the background, which is the first class there.
            background_first = isinstance(self.model, SSD)
            scores = logits.softmax(dim=-1)[..., 1:] if background_first else logits.sigmoid()
            anchors = self.anchors.repeat(images.shape[0], 1)
            boxes = self.model.box_coder.decode_single(offsets.flatten(0, 1), anchors)
        shares = (boxes / self.image_size).clamp(0, 1)
        return shares.reshape(-1, len(self.anchors), 4), scores


def dense_network(module: DetectionModule) -> DenseDetector:
    """What is exported: takes uint8 images [B, 3, S, S], returns boxes and scores.

    Raises:
        UsageError: for a detector that is no dense graph.
    """
    settings = module.settings
    name = settings.model.architecture
    if name in _WHOLE:
        raise UsageError(
            f"model.architecture={name} cannot be exported: {_WHOLE[name]}.\n"
            "Train fcos, retinanet or ssdlite to export, or use the checkpoint as it is."
        )
    network = module.network
    return DenseDetector(network.normalisation, network.model.model, settings.data.image_size)


def postprocessing(module: DetectionModule, network: DenseDetector) -> dict[str, Any]:
    """The rules of the choice, in words and as ``from_outputs`` takes them."""
    model = network.model
    # SSD takes the best of each class, the others of each level.
    by_class = isinstance(model, SSD)
    return {
        "steps": (
            "1. In each of the `levels` (numbers of consecutive boxes), keep the "
            "`candidates_per_level` best pairs of box and class whose score is above "
            "`score_threshold`. 2. Class by class, drop boxes that overlap a surer one by an IoU "
            "above `nms_iou` (NMS). 3. Keep the `limit` surest. Those from `shown_from` on are "
            "worth showing."
        ),
        "score_threshold": model.score_thresh,
        "levels": [sum(network.levels)] if by_class else network.levels,
        "candidates_per_level": model.topk_candidates * (len(module.classes) if by_class else 1),
        "nms_iou": model.nms_thresh,
        "limit": model.detections_per_img,
        "shown_from": module.settings.model.score_threshold,
    }


def from_outputs(outputs: Sequence[Tensor], rules: Mapping[str, Any]) -> list[Prediction]:
    """Choose boxes as torchvision's own detectors do.

    In each level the best pairs of box and class are kept whose score is above
    ``score_threshold``, as many as ``candidates_per_level``. Then, class by class, boxes go that
    overlap a surer one by an IoU above ``nms_iou``. The ``limit`` surest remain.

    Args:
        outputs: boxes [B, A, 4] and scores [B, A, classes].
        rules: what ``postprocessing`` returned.
    """
    return [_chosen(boxes, scores, rules) for boxes, scores in zip(*outputs, strict=True)]


def _chosen(boxes: Tensor, scores: Tensor, rules: Mapping[str, Any]) -> Prediction:
    classes = scores.shape[1]
    candidates = []
    before = 0
    for level in torch.split(scores, rules["levels"]):
        best, places = level.flatten().topk(min(rules["candidates_per_level"], level.numel()))
        sure = best > rules["score_threshold"]
        candidates.append((best[sure], places[sure] + before))
        before += level.numel()
    best, places = (torch.cat(parts) for parts in zip(*candidates, strict=True))
    own, labels = boxes[places // classes], places % classes
    kept = batched_nms(own, best, labels, rules["nms_iou"])[: rules["limit"]]
    return Prediction(own[kept], best[kept], labels[kept])
