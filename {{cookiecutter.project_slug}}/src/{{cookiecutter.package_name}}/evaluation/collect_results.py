"""Collect the results of a test over all batches and all processes."""

from itertools import chain
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from .score_counts import ImageResult, ScoreCounts, StepResults


class EvaluationResults(Callback):
    """Add up the counts that ``test_step`` returns, and keep the best and the worst images."""

    counts: ScoreCounts  # of all images; after the test, also of those of other processes
    images: int  # their number
    worst: list[ImageResult]  # of the highest loss, in descending order
    best: list[ImageResult]  # of the lowest loss, in ascending order
    shown = 8  # the maximum length of these lists

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the results of a batch."""
        results: StepResults = outputs
        if batch_idx == 0:
            self.counts, self.images = results["counts"], 0
            self.worst, self.best = [], []
        else:
            self.counts += results["counts"]
        self.images += len(results["images"])
        self._select([*self.worst, *results["images"]], [*self.best, *results["images"]])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Combine the results of all processes."""
        if trainer.world_size == 1:
            return
        gathered: list[Any] = [None] * trainer.world_size
        distributed.all_gather_object(gathered, (self.counts, self.images, self.worst, self.best))
        counts, images, worst, best = zip(*gathered, strict=True)
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
