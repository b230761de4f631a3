"""COCO's mean average precision (mAP), computed over all processes."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor, distributed

from ..evaluation.score_counts import ClassScores
from .boxes import Prediction, Target, in_file
from .coco import coco_results, in_pixels

log = logging.getLogger(__name__)

# Indices of COCOeval's precision [IoU threshold, recall, class, object size, number of boxes].
_SIZES = {"": 0, "_small": 1, "_medium": 2, "_large": 3}
_ALL_BOXES = 2  # index of 100 in COCOeval's maxDets, which are 1, 10 and 100 boxes in an image
_THRESHOLDS = {"_50": 0, "_75": 5}  # of the IoU thresholds 0.50, 0.55 ... 0.95

NOTHING_FOUND = {"mAP": 0.0, "mAP_50": 0.0, "mAP_75": 0.0}  # the scores without detections


class ImageObjects(NamedTuple):
    """The annotated and the detected objects of an image, in pixels of the image file."""

    size: tuple[int, int]  # height and width of the image file
    objects: list[dict[str, Any]]  # COCO annotations, without ids
    detections: list[dict[str, Any]]  # COCO results, without image ids


class Scores(NamedTuple):
    """The results of an evaluation."""

    overall: dict[str, float]  # mAP, mAP_50, mAP_75, and mAP_<size> if such objects exist
    by_class: ClassScores  # AP, AP_small ...; None if a class has no such objects


class CocoScores:
    """Collect the detections of all batches and processes, then evaluate them together.

    An image that a distributed sampler gave to several processes counts once.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.images: dict[int, ImageObjects] = {}  # by the index of the image in the data set

    def update(
        self, positions: Tensor, detections: Sequence[Prediction], targets: Sequence[Target]
    ) -> None:
        """Add the detections and the targets of a batch, whose positions are int64 [B]."""
        for index, prediction, target in zip(positions.tolist(), detections, targets, strict=True):
            boxes = in_pixels(target.placement.to_image(target.boxes), target.size)
            columns = (part.tolist() for part in (target.labels, target.areas, target.crowd))
            objects = [
                {"category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
                for box, label, area, crowd in zip(boxes, *columns, strict=True)
            ]
            results = coco_results(in_file(prediction, target.placement), target.size)
            self.images[index] = ImageObjects(target.size, objects, results)

    def compute(self) -> Scores:
        """Return the scores over all images of all processes, and reset the collection."""
        parts = [self.images]
        if distributed.is_available() and distributed.is_initialized():
            parts = [{} for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(parts, self.images)
        self.images = {}
        return evaluate({key: image for part in parts for key, image in part.items()}, self.classes)


def evaluate(images: dict[int, ImageObjects], classes: Sequence[str]) -> Scores:
    """Run COCO's evaluation on images by their index in the data set."""
    images = dict(sorted(images.items()))
    annotations = [
        {"image_id": key, **box} for key, image in images.items() for box in image.objects
    ]
    for number, entry in enumerate(annotations, start=1):
        entry["id"] = number  # from 1, since COCO uses the id 0 for "not matched"
    detected = [
        {"image_id": key, **box} for key, image in images.items() for box in image.detections
    ]
    if not annotations or not detected:
        present = {entry["category_id"] for entry in annotations}
        none = [0.0 if label in present else None for label in range(len(classes))]
        return Scores({**NOTHING_FOUND}, {"AP": none})
    objects = COCO(
        {
            "images": [
                {"id": key, "height": image.size[0], "width": image.size[1]}
                for key, image in images.items()
            ],
            "categories": [{"id": label, "name": name} for label, name in enumerate(classes)],
            "annotations": annotations,
        }
    )
    detections = objects.loadRes(detected)
    evaluation = COCOeval_faster(objects, detections, "bbox", print_function=log.debug)
    evaluation.evaluate()
    evaluation.accumulate()
    return _scores(evaluation.eval["precision"])


def _scores(precision: np.ndarray) -> Scores:
    by_size = {name: precision[..., size, _ALL_BOXES] for name, size in _SIZES.items()}
    by_iou = {name: by_size[""][threshold] for name, threshold in _THRESHOLDS.items()}
    means = {f"mAP{name}": _mean(values) for name, values in (by_size | by_iou).items()}
    # If all annotations are crowds, COCOeval reports no value for any object size.
    overall = NOTHING_FOUND | {name: value for name, value in means.items() if value is not None}
    by_class: ClassScores = {
        f"AP{name}": [*map(_mean, values.transpose(2, 0, 1))]
        for name, values in by_size.items()
        if f"mAP{name}" in overall
    }
    return Scores(overall, by_class)


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]  # COCOeval sets -1 if there is no such object
    return float(known.mean()) if known.size else None
