"""What ``doctor`` looks at in this task's data; ids that are no class make a mask unreadable."""

import numpy as np

from .dataset import MaskDataset, Sample
from .masks import IGNORE_INDEX

COUNTED = "pixels"


def examine(
    _dataset: MaskDataset, _index: int, sample: Sample, classes: int
) -> tuple[np.ndarray, list[str]]:
    """Count the pixels of each class.

    Returns:
        int64 array [classes], and a sentence if the mask says nothing.
    """
    counts = np.bincount(np.asarray(sample.target).ravel(), minlength=256)
    problems = ["nothing is labelled in its mask"] if counts[:IGNORE_INDEX].sum() == 0 else []
    return counts[:classes], problems
