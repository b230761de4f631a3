"""Collect the results of a test over all batches and all processes."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from ..errors import UsageError
from .score_counts import ImageResult, ScoreCounts, StepResults


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
        """Combine the results of all processes.

        Raises:
            UsageError: if no image can be read.
        """
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
