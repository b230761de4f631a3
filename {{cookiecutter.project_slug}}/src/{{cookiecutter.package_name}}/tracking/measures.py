"""What a training tells of its model."""

from lightning.pytorch import Callback, LightningModule, Trainer

from .client import Tracked
from .facts import model_size

WATCH_STEPS = 100


class Measures(Callback):
    """The size of the model, and on request histograms of its weights."""

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the size; begin to watch."""
        with self.tracked.guarded("noting the model's size"):
            self.tracked.run.config.update({"model_size": model_size(pl_module)})
        watched = self.tracked.tracking.watch
        if watched:
            with self.tracked.guarded("watching the weights"):
                self.tracked.run.watch(
                    pl_module, log=watched, log_freq=WATCH_STEPS, log_graph=False
                )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching: the test needs no hooks."""
        if self.tracked.tracking.watch:
            with self.tracked.guarded("watching the weights"):
                self.tracked.run.unwatch(pl_module)
