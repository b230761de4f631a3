"""Seconds of mAP on 500 images with 100 predictions each: by the project, or faster-coco-eval by hand."""

import contextlib
import io
import sys
from time import perf_counter
from typing import Any

import torch
from common import answer
from faster_coco_eval import COCO, COCOeval_faster
from shape_sorter.detection.boxes import Prediction, Target
from shape_sorter.detection.metrics import CocoScores
from torch import Tensor

IMAGES, OBJECTS, FOUND, CLASSES, SIDE = 500, 10, 100, 20, 640


def boxes(count: int) -> Tensor:
    """Random boxes as shares of the image."""
    corner, size = torch.rand(count, 2) * 0.7, torch.rand(count, 2) * 0.25 + 0.03
    return torch.cat([corner, corner + size], dim=1)


def scenes() -> tuple[list[Prediction], list[Target]]:
    """What was found, and what is there."""
    torch.manual_seed(0)
    found, targets = [], []
    for _ in range(IMAGES):
        there, labels = boxes(OBJECTS), torch.randint(CLASSES, (OBJECTS,))
        areas = (there[:, 2:] - there[:, :2]).prod(dim=1) * SIDE**2
        targets.append(Target(there, labels, torch.zeros(OBJECTS, dtype=torch.bool), areas, (SIDE, SIDE)))
        near = there.repeat(FOUND // OBJECTS, 1) + torch.randn(FOUND, 4) * 0.02
        scores = torch.rand(FOUND).sort(descending=True).values
        found.append(Prediction(near.clamp(0, 1), scores, labels.repeat(FOUND // OBJECTS)))
    return found, targets


def in_coco(box: Tensor) -> list[float]:
    """X, y, width and height in pixels."""
    left, top, right, bottom = (box * SIDE).tolist()
    return [left, top, right - left, bottom - top]


def by_hand(found: list[Prediction], targets: list[Target]) -> float:
    """The mAP, by faster-coco-eval as its page shows it."""
    truth: dict[str, Any] = {
        "images": [{"id": index, "height": SIDE, "width": SIDE} for index in range(IMAGES)],
        "categories": [{"id": index, "name": str(index)} for index in range(CLASSES)],
        "annotations": [],
    }
    answers = []
    for index, (one, target) in enumerate(zip(found, targets, strict=True)):
        for box, label, area in zip(target.boxes, target.labels.tolist(), target.areas.tolist(), strict=True):
            known = {"id": len(truth["annotations"]) + 1, "iscrowd": 0, "area": area}
            truth["annotations"].append({"image_id": index, "category_id": label, "bbox": in_coco(box), **known})
        for box, label, score in zip(one.boxes, one.labels.tolist(), one.scores.tolist(), strict=True):
            answers.append({"image_id": index, "category_id": label, "bbox": in_coco(box), "score": score})
    objects = COCO(truth)
    evaluation = COCOeval_faster(objects, objects.loadRes(answers), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def main(which: str) -> None:
    """Print the figure of one of the two."""
    found, targets = scenes()
    with contextlib.redirect_stdout(io.StringIO()):
        began = perf_counter()
        if which == "ours":
            scores = CocoScores([str(index) for index in range(CLASSES)])
            for start in range(0, IMAGES, 16):
                part = slice(start, start + 16)
                scores.update(torch.arange(start, min(start + 16, IMAGES)), found[part], targets[part])
            score = scores.compute().overall["mAP"]
        else:
            score = by_hand(found, targets)
        took = perf_counter() - began
    answer(seconds=took, mAP=score)


if __name__ == "__main__":
    main(*sys.argv[1:])
