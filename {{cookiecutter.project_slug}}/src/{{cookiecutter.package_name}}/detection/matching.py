"""Match predicted boxes with annotated objects."""

import numpy as np
from torchvision.ops import box_area, box_iou

from .boxes import Prediction, Target

MATCHING_IOU = 0.5  # minimum IoU of a box and its object
NO_OBJECT, IN_CROWD = -1, -2


def match(prediction: Prediction, target: Target, *, same_class: bool = True) -> np.ndarray:
    """Match each box with the object of the highest IoU, in the order of descending scores.

    An object is matched with a single box. A crowd is not matched, but a box of which it covers at
    least half is neither correct nor wrong, as in COCO.

    Args:
        prediction: N predicted boxes, on the CPU.
        target: the annotated objects, on the CPU.
        same_class: whether a box and its object must have the same class.

    Returns:
        int array [N]: the index of the matched object, ``NO_OBJECT`` or ``IN_CROWD``.
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
