"""Show the progress of training: a bar for each epoch, or a line where there is no terminal."""

import logging
from time import perf_counter

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich import progress

from ..steps import is_logging_step

log = logging.getLogger(__name__)


class ProgressBar(RichProgressBar):
    """A progress bar that fits into a line of 80 characters."""

    def __init__(self) -> None:
        super().__init__(leave=True)
        self.loss: dict[str, float] = {}

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the loss of the last logged step and the score of the last validation.

        The loss is not logged with ``prog_bar=True``: Lightning would synchronise the GPU for it in
        every step.
        """
        if is_logging_step(trainer, trainer.global_step):
            metrics = trainer.callback_metrics
            self.loss = {"loss": float(metrics["train/loss"])} if "train/loss" in metrics else {}
        return {**self.loss, **trainer.progress_bar_metrics}

    def configure_columns(self, trainer: Trainer) -> list[progress.ProgressColumn]:
        """Return the columns to the left of the metrics, about 40 characters."""
        return [
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=8),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        ]


class EpochLines(Callback):
    """Log a line for each epoch: its mean loss, the score of its validation, and its time."""

    def __init__(self) -> None:
        self.began = perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.began = perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the line of the epoch, after its validation."""
        if not trainer.is_global_zero:
            return
        metrics = {"loss": float(trainer.callback_metrics["train/loss_epoch"])}
        metrics |= trainer.progress_bar_metrics
        values = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        seconds, last = perf_counter() - self.began, (trainer.max_epochs or 1) - 1
        log.info("Epoch %d/%d: %s, %.0f s", trainer.current_epoch, last, values, seconds)
