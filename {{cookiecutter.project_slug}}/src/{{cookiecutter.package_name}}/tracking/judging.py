"""What is made of each image of an evaluation: the row of a table, and the counts of the charts."""

from typing import Any, NamedTuple

import numpy as np
import torch

BINS = 100  # of scores from 0 to 1


class Judged(NamedTuple):
    """One image of an evaluation."""

    position: int  # in the data set
    image: torch.Tensor  # uint8 [3, S, S]
    target: Any
    prediction: Any
    confidence: float
    loss: float
    correct: float  # 0 to 1


class ScoreCounts:
    """How often each score was given to what is of a class and to what is not."""

    def __init__(self, classes: int) -> None:
        self.right = np.zeros((classes, BINS), dtype=np.int64)
        self.wrong = np.zeros((classes, BINS), dtype=np.int64)
        self.there = np.zeros(classes, dtype=np.int64)
        # A row for each target, a column for each prediction; the last may stand for background.
        self.confusion = np.zeros((classes + 1, classes + 1), dtype=np.int64)

    def add(self, label: int, scores: np.ndarray, right: np.ndarray, there: int) -> None:
        """Count scores [N] of one class; ``right`` is bool [N], ``there`` how many there are."""
        self.there[label] += there
        bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
        self.right[label] += np.bincount(bins[right], minlength=BINS)
        self.wrong[label] += np.bincount(bins[~right], minlength=BINS)

    def precision_and_recall(self, label: int) -> list[tuple[float, float]]:
        """Precision and recall at each of the thresholds, from the highest; [] without objects."""
        right = self.right[label][::-1].cumsum()
        wrong = self.wrong[label][::-1].cumsum()
        total = int(self.there[label])
        if not total:
            return []
        return [
            (hits / (hits + others), hits / total)
            for hits, others in zip(right.tolist(), wrong.tolist(), strict=True)
            if hits + others
        ]
