"""Collect the results of a test, and compute curves and thresholds from its scores."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from ..errors import UsageError

BINS = 100
THRESHOLDS = np.arange(BINS) / BINS

ClassScores = dict[str, list[float | None]]  # metric -> value of each class


class ImageResult(NamedTuple):
    """The result of a test image."""

    position: int  # index in the data set
    image: Tensor  # uint8 [C, H, W], on the CPU
    target: Any
    prediction: Any
    confidence: float  # 0 to 1
    loss: float  # the higher, the worse the prediction
    correct: float  # 0 to 1


class Curves(NamedTuple):
    """Metrics at each of the ``THRESHOLDS``, float [classes, BINS]; NaN where undefined."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    def mean(self) -> "Curves":
        """Return the means over the classes whose value is defined, float [BINS]."""
        return Curves(
            *(np.ma.masked_invalid(values).mean(axis=0).filled(np.nan) for values in self)
        )


class ScoreCounts:
    """Histograms of the scores of correct and wrong predictions, and the confusion matrix.

    Scores are counted in ``BINS`` intervals from 0 to 1, so that memory does not grow with the
    data set. If given, ``background`` names an additional row of the confusion matrix, for
    predictions without a target, and an additional column, for targets without a prediction.
    """

    def __init__(self, classes: Sequence[str], *, background: str = "") -> None:
        self.classes = list(classes)
        self.confusion_names = [*classes, *([background] if background else [])]
        self.correct = np.zeros((len(classes), BINS), dtype=np.int64)
        self.wrong = np.zeros((len(classes), BINS), dtype=np.int64)
        self.targets = np.zeros(len(classes), dtype=np.int64)
        # A row for each target, a column for each prediction.
        self.confusion = np.zeros((len(self.confusion_names),) * 2, dtype=np.int64)

    def __iadd__(self, other: "ScoreCounts") -> "ScoreCounts":
        self.correct += other.correct
        self.wrong += other.wrong
        self.targets += other.targets
        self.confusion += other.confusion
        return self

    def add(self, labels: np.ndarray, scores: np.ndarray, correct: np.ndarray) -> None:
        """Add predictions: labels, int [N], scores from 0 to 1, and whether they are correct."""
        bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
        places, size = labels * BINS + bins, self.correct.size
        self.correct += np.bincount(places[correct], minlength=size).reshape(-1, BINS)
        self.wrong += np.bincount(places[~correct], minlength=size).reshape(-1, BINS)

    def add_targets(self, labels: np.ndarray) -> None:
        """Add the classes of all targets, int [N]."""
        self.targets += np.bincount(labels, minlength=len(self.targets))

    def curves(self) -> Curves:
        """Compute precision, recall and F1 of the predictions with a score of at least a threshold.

        With ``tp`` correct and ``fp`` wrong predictions of a class that has ``n`` targets:
        ``precision = tp / (tp + fp)``, ``recall = tp / n`` and ``F1 = 2 tp / (tp + fp + n)``. All
        are undefined for a class without targets.
        """
        correct = self.correct[:, ::-1].cumsum(axis=1)[:, ::-1]
        predicted = correct + self.wrong[:, ::-1].cumsum(axis=1)[:, ::-1]
        targets = np.where(self.targets, self.targets, np.nan)[:, None]
        with np.errstate(invalid="ignore"):
            precision = np.where(self.targets[:, None], correct / predicted, np.nan)
        return Curves(precision, correct / targets, 2 * correct / (predicted + targets))


class StepResults(TypedDict):
    """The return value of ``test_step``: results of the images that this process counts."""

    images: list[ImageResult]
    counts: ScoreCounts


class EvaluationResults(Callback):
    """Add up the counts that ``test_step`` returns, and keep the best and the worst images."""

    counts: ScoreCounts  # of all images of all processes, after the test
    images: int  # the number of images that were tested
    worst: list[ImageResult]  # of the highest loss, in descending order
    best: list[ImageResult]  # of the lowest loss, in ascending order
    shown = 8  # the maximum length of these lists

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the results of an earlier test."""
        self.counted: list[ScoreCounts] = []  # the sum of the counts so far, if there are any
        self.images, self.worst, self.best = 0, [], []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the results of a batch; there are none if all its images are unreadable."""
        results: StepResults | None = outputs
        if results is not None:
            images = results["images"]
            self._add([results["counts"]], len(images), images, images)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Combine the results of all processes; raise a UsageError if no image can be read."""
        if trainer.world_size > 1:
            parts: list[Any] = [None] * trainer.world_size
            own = (self.counted, self.images, self.worst, self.best)
            distributed.all_gather_object(parts, own)
            self.on_test_epoch_start(trainer, pl_module)
            for part in parts:
                self._add(*part)
        if not self.counted:
            raise UsageError(
                "None of the images to test can be read.\nRepair them, or name other data."
            )
        (self.counts,) = self.counted

    def _add(
        self,
        counted: list[ScoreCounts],
        images: int,
        worst: list[ImageResult],
        best: list[ImageResult],
    ) -> None:
        for counts in counted:
            if self.counted:
                self.counted[0] += counts
            else:
                self.counted = [counts]
        self.images += images
        # If losses are equal, predictions with a higher confidence come first.
        worst = sorted([*self.worst, *worst], key=lambda image: (-image.loss, -image.confidence))
        best = sorted([*self.best, *best], key=lambda image: (image.loss, -image.confidence))
        # A view of an image would keep its whole batch in memory.
        self.worst, self.best = (
            [result._replace(image=result.image.clone()) for result in results[: self.shown]]
            for results in (worst, best)
        )


def best_threshold(f1: np.ndarray) -> int | None:
    """Return the middle index in ``THRESHOLDS`` of the highest F1; None if all are NaN."""
    best = np.flatnonzero(f1 == np.nanmax(f1, initial=-1))
    return int(best[len(best) // 2]) if len(best) else None


def rounded(values: Iterable[float | None]) -> list[float | None]:
    """Round values to six decimal places, and replace NaN by None."""
    return [None if value is None or math.isnan(value) else round(value, 6) for value in values]
