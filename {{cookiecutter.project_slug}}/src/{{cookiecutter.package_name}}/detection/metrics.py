"""mAP as COCO defines it, over all processes."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from torch import Tensor, distributed

from ..evaluation.scores import ClassScores
from .boxes import Prediction, Target

log = logging.getLogger(__name__)

# Where COCOeval keeps what: its array is [IoU threshold, recall, class, size, number of boxes].
_SIZES = {"": 0, "_small": 1, "_medium": 2, "_large": 3}
_ALL_BOXES = 2  # of 1, 10 and 100
_THRESHOLDS = {"_50": 0, "_75": 5}  # of 0.50, 0.55 ... 0.95


class Judged(NamedTuple):
    """One image: its objects and what was detected, in pixels of the file."""

    size: tuple[int, int]  # height, width
    objects: list[dict[str, Any]]  # COCO annotations, without ids
    detections: list[dict[str, Any]]  # COCO results, without image ids


class Scores(NamedTuple):
    """The results of an evaluation."""

    overall: dict[str, float]  # mAP, mAP_50, mAP_75; by size, where there are such objects
    by_class: ClassScores  # AP, AP_small ...; None for a class without such objects


class CocoScores:
    """Gather detections batch by batch, then compare them with the objects.

    Processes that share the images exchange what they have seen; an image that several were given,
    to make their shares equal, counts once. So the result does not depend on their number.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.judged: dict[int, Judged] = {}  # by the position of the image

    def update(
        self, positions: Tensor, detections: Sequence[Prediction], targets: Sequence[Target]
    ) -> None:
        """Take in one batch."""
        for position, found, target in zip(positions.tolist(), detections, targets, strict=True):
            self.judged[position] = Judged(
                target.size, _objects(target), results(found, target.size)
            )

    def compute(self) -> Scores:
        """The scores of all images of all processes; afterwards, nothing is left."""
        judged, self.judged = self.judged, {}
        if not (distributed.is_available() and distributed.is_initialized()):
            return evaluate(judged, self.classes)
        shares: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(shares, judged)
        answer: list[Any] = [None]
        if distributed.get_rank() == 0:  # the others need not do the same work
            everything = {position: one for share in shares for position, one in share.items()}
            answer = [evaluate(everything, self.classes)]
        distributed.broadcast_object_list(answer)
        scores: Scores = answer[0]
        return scores


def evaluate(judged: dict[int, Judged], classes: Sequence[str]) -> Scores:
    """Run COCO's evaluation.

    Args:
        judged: the images by position.
        classes: the names; labels are their indices.
    """
    order = sorted(judged)
    truth: dict[str, list[dict[str, Any]]] = {
        "images": [
            {"id": index, "height": judged[index].size[0], "width": judged[index].size[1]}
            for index in order
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
        "annotations": [
            {"image_id": index, **one} for index in order for one in judged[index].objects
        ],
    }
    for number, one in enumerate(truth["annotations"], start=1):
        one["id"] = number  # from 1: COCO takes 0 for "not matched"
    found = [{"image_id": index, **one} for index in order for one in judged[index].detections]
    if not truth["annotations"] or not found:
        present = {one["category_id"] for one in truth["annotations"]}
        none = [0.0 if label in present else None for label in range(len(classes))]
        return Scores({"mAP": 0.0, "mAP_50": 0.0, "mAP_75": 0.0}, {"AP": none})
    objects = COCO(truth)
    answers = objects.loadRes(found)
    evaluation = COCOeval_faster(objects, answers, "bbox", print_function=log.debug)
    evaluation.evaluate()
    evaluation.accumulate()
    return _scores(evaluation.eval["precision"])


def _scores(precision: np.ndarray) -> Scores:
    values = {
        f"mAP{name}": _mean(precision[:, :, :, size, _ALL_BOXES]) for name, size in _SIZES.items()
    }
    values |= {
        f"mAP{name}": _mean(precision[threshold, :, :, 0, _ALL_BOXES])
        for name, threshold in _THRESHOLDS.items()
    }
    overall = {name: value for name, value in values.items() if value is not None}
    by_class: ClassScores = {
        f"AP{name}": [
            _mean(values) for values in precision[..., size, _ALL_BOXES].transpose(2, 0, 1)
        ]
        for name, size in _SIZES.items()
        if f"mAP{name}" in overall
    }
    return Scores(overall, by_class)


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]  # -1 where there is no such object
    return float(known.mean()) if known.size else None


def _objects(target: Target) -> list[dict[str, Any]]:
    return [
        {"category_id": label, "bbox": box, "area": area, "iscrowd": int(crowd)}
        for label, box, area, crowd in zip(
            target.labels.tolist(),
            in_pixels(target.boxes, target.size),
            target.areas.tolist(),
            target.crowd.tolist(),
            strict=True,
        )
    ]


def results(found: Prediction, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Predictions in COCO's form, ``category_id`` being the index of the class."""
    return [
        {"category_id": label, "bbox": box, "score": score}
        for label, box, score in zip(
            found.labels.tolist(),
            in_pixels(found.boxes, size),
            found.scores.tolist(),
            strict=True,
        )
    ]


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> list[list[float]]:
    """COCO's x, y, width and height in pixels.

    Args:
        boxes: float tensor [N, 4], x1 y1 x2 y2 as shares of the image.
        size: height and width of the image.
    """
    height, width = size
    corners = boxes.detach().double().cpu()
    sides = corners[:, 2:] - corners[:, :2]
    scale = corners.new_tensor([width, height])
    return [
        [*corner, *side]
        for corner, side in zip(
            (corners[:, :2] * scale).tolist(), (sides * scale).tolist(), strict=True
        )
    ]
