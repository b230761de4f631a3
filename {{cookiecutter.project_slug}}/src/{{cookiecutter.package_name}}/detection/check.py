"""What ``doctor`` looks at in this task's data."""

import numpy as np

from .dataset import BoxDataset, Sample

COUNTED = "objects"
LEAST_PIXELS = 2  # a side that is smaller is hardly meant


def examine(
    dataset: BoxDataset, index: int, sample: Sample, classes: int
) -> tuple[np.ndarray, list[str]]:
    """Count the objects of each class, and name boxes that can hardly be meant.

    Returns:
        int64 array [classes], and a sentence for each suspicious box.
    """
    record = dataset.record(index)
    problems = list(dataset.faults.get(index, ()))
    height, width = sample.image.shape[1:]
    sides = (record.boxes[:, 2:] - record.boxes[:, :2]) * (width, height)
    for box, (across, down) in enumerate(sides.round(1).tolist()):
        if min(across, down) < LEAST_PIXELS:
            problems.append(f"box {box} is {across:g} x {down:g} pixels")
    rows = np.column_stack([record.labels, record.boxes])
    repeated = len(rows) - len(np.unique(rows, axis=0))
    if repeated:
        problems.append(f"{repeated} boxes are there twice, with the same class")
    return np.bincount(record.labels, minlength=classes), problems
