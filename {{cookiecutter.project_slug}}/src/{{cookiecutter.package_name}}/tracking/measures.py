"""Numbers of a training that the modules do not log themselves."""

import logging
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..sharding import is_split
from .client import Tracked
from .facts import model_size

log = logging.getLogger(__name__)

WATCH_STEPS = 100


class Measures(Callback):
    """The size of the model, images per second, and on request histograms of the weights."""

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the size; begin to watch."""
        with self.tracked.guarded("noting the model's size"):
            self.tracked.run.config.update({"model_size": model_size(pl_module)})
        watched = self.tracked.tracking.watch
        if watched and is_split(pl_module):
            log.warning("tracking.watch is left out: the weights are split over processes.")
        elif watched:
            with self.tracked.guarded("watching the weights"):
                self.tracked.run.watch(
                    pl_module, log=watched, log_freq=WATCH_STEPS, log_graph=False
                )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The rest of an epoch that is resumed has no start of its own."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time."""
        self.began = self.ended = time.perf_counter()
        self.images = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count without waiting for the device: over an epoch, the difference is small."""
        self.images += len(batch.images)
        self.ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the throughput of all processes, validation not counted."""
        seconds = self.ended - self.began
        if seconds:
            rate = self.images * trainer.world_size / seconds
            values = {"train/images_per_second": rate, "epoch": trainer.current_epoch}
            self.tracked.send(values, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching: the test needs no hooks."""
        if self.tracked.tracking.watch and not is_split(pl_module):
            with self.tracked.guarded("watching the weights"):
                self.tracked.run.unwatch(pl_module)
