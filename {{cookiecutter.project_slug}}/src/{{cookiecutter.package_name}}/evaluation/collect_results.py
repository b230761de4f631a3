"""Collect the results of a test over all batches and all processes."""

from itertools import chain
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
        if results is None:
            return
        if self.counted:
            self.counted[0] += results["counts"]
        else:
            self.counted = [results["counts"]]
        self.images += len(results["images"])
        self._select([*self.worst, *results["images"]], [*self.best, *results["images"]])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Combine the results of all processes.

        Raises:
            UsageError: if no image can be read.
        """
        own = (self.counted, self.images, self.worst, self.best)
        parts: list[Any] = [own] * trainer.world_size
        if trainer.world_size > 1:
            distributed.all_gather_object(parts, own)
        counted, images, worst, best = zip(*parts, strict=True)
        counts: list[ScoreCounts] = list(chain(*counted))
        if not counts:
            raise UsageError(
                "None of the images to test can be read.\nRepair them, or name other data."
            )
        self.counts, self.images = counts[0], sum(images)
        for other_counts in counts[1:]:
            self.counts += other_counts
        self._select(list(chain(*worst)), list(chain(*best)))

    def _select(self, worst: list[ImageResult], best: list[ImageResult]) -> None:
        # If losses are equal, predictions with a higher confidence come first.
        worst = sorted(worst, key=lambda result: (-result.loss, -result.confidence))
        best = sorted(best, key=lambda result: (result.loss, -result.confidence))
        # A view of an image would keep its whole batch in memory.
        self.worst, self.best = (
            [result._replace(image=result.image.clone()) for result in results[: self.shown]]
            for results in (worst, best)
        )
