"""Compute the results of each image of a test batch."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torchvision.ops import box_area, box_iou

from ..evaluation.score_counts import ImageResult, ScoreCounts, StepResults
from .boxes import Prediction, Target
from .dataset import Batch

MATCHING_IOU = 0.5  # minimum IoU of a box and its object
NO_OBJECT, IN_CROWD = -1, -2


def score_batch(
    batch: Batch,
    detections: Sequence[Prediction],
    counted: Tensor,
    classes: Sequence[str],
    threshold: float,
) -> StepResults:
    """Compute the results of the counted images, bool tensor [B]; their loss is ``1 - F1``.

    The curves need all detections of an image; those with a score of at least ``threshold`` are
    drawn and counted in the confusion matrix and in the loss.
    """
    counts = ScoreCounts(classes, background="background")
    images, positions = batch.images.cpu(), batch.positions.tolist()
    results = []
    for index in counted.nonzero().flatten().tolist():
        target = batch.targets[index]
        boxes, labels, crowd, areas = (part.cpu() for part in target[:4])
        target = target._replace(boxes=boxes, labels=labels, crowd=crowd, areas=areas)
        prediction = Prediction(*(part.detach().cpu() for part in detections[index]))
        matches = match(prediction, target)
        counted_boxes = matches != IN_CROWD
        scores = prediction.scores.float().numpy()[counted_boxes]
        correct = matches[counted_boxes] >= 0
        counts.add(prediction.labels.numpy()[counted_boxes], scores, correct)
        objects = labels[~crowd].numpy()
        counts.add_targets(objects)
        shown = Prediction(*(part[prediction.scores >= threshold] for part in prediction))
        _count_confusion(counts.confusion, shown, target)
        confident = scores >= threshold
        total = int(confident.sum()) + len(objects)
        loss = 1 - 2 * int(correct[confident].sum()) / total if total else 0.0
        confidence = float(shown.scores.mean()) if len(shown.scores) else 0.0
        result = (positions[index], images[index], target, shown, confidence, loss, loss == 0)
        results.append(ImageResult(*result))
    return StepResults(images=results, counts=counts)


def match(prediction: Prediction, target: Target, *, same_class: bool = True) -> np.ndarray:
    """Match each box with the object of the highest IoU, in the order of descending scores.

    An object is matched with a single box, of the same class unless ``same_class`` is false. As in
    COCO, a box of which a crowd covers at least half is neither correct nor wrong.

    Returns:
        int array: for each box the index of its object, ``NO_OBJECT`` or ``IN_CROWD``.
    """
    iou = box_iou(prediction.boxes, target.boxes)
    if same_class:
        iou *= prediction.labels[:, None] == target.labels
    in_crowd = iou[:, target.crowd]
    # Intersection / box area, which follows from IoU = intersection / (box + crowd - intersection)
    ratio = box_area(target.boxes[target.crowd]) / box_area(prediction.boxes)[:, None]
    covered = (in_crowd / (1 + in_crowd) * (1 + ratio) >= MATCHING_IOU).any(dim=1)
    matches = np.where(covered.numpy(), IN_CROWD, NO_OBJECT)
    free = iou.numpy() * ~target.crowd.numpy()
    if not free.size:
        return matches
    for index in prediction.scores.argsort(descending=True, stable=True).tolist():
        best = int(free[index].argmax())
        if free[index, best] >= MATCHING_IOU:
            matches[index] = best
            free[:, best] = 0
    return matches


def _count_confusion(confusion: np.ndarray, prediction: Prediction, target: Target) -> None:
    """Add the boxes of an image, matched with objects of any class, to a confusion matrix.

    The last row counts boxes without an object, the last column objects without a box.
    """
    matches = match(prediction, target, same_class=False)
    counted = matches != IN_CROWD
    objects = np.append(target.labels.numpy(), -1)[matches[counted]]  # NO_OBJECT: the last row
    np.add.at(confusion, (objects, prediction.labels.numpy()[counted]), 1)
    missed = ~target.crowd.numpy()
    missed[matches[matches >= 0]] = False
    np.add.at(confusion[:, -1], target.labels.numpy()[missed], 1)
