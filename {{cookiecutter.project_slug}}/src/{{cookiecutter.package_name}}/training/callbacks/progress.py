"""Show the progress of training: a bar for each epoch, or a line where there is no terminal."""

import logging
# ~ if cookiecutter.scope == "complete"
from datetime import timedelta
from time import perf_counter
from typing import Any

# ~ else
from time import perf_counter

# ~ endif
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
# ~ if cookiecutter.scope == "complete"
from rich import get_console, progress

from ..steps import ends_step, is_logging_step

log = logging.getLogger(__name__)

TIMED_STEPS = 20  # optimiser steps after which the remaining time is estimated


# ~ else
from rich import progress

from ..steps import is_logging_step

log = logging.getLogger(__name__)


# ~ endif
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


# ~ if cookiecutter.scope == "complete"
class TimeLeft(Callback):
    """Say once how long the training takes: after ``TIMED_STEPS`` steps or a shorter epoch."""

    def __init__(self) -> None:
        # The first step is not timed, since it is slower than all others.
        self.timed_from: tuple[int, float] | None = None  # the first step and the time of its end
        self.untimed = 1  # steps of the timed epochs that are not timed
        self.said = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how long it takes as soon as enough optimiser steps are done."""
        if self.timed_from is not None:
            steps = trainer.global_step - self.timed_from[0]
            if steps >= TIMED_STEPS:
                self._say(trainer, steps, " without validation")
        elif ends_step(trainer, batch_idx):
            self.timed_from = trainer.global_step, perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how long it takes after an epoch of few steps, with its validation."""
        if self.timed_from is None:
            return
        if steps := trainer.global_step - self.timed_from[0]:
            self._say(trainer, steps + self.untimed)
        else:  # the first step was the only one: the next epoch is timed as a whole
            self.timed_from, self.untimed = (trainer.global_step, perf_counter()), 0

    def _say(self, trainer: Trainer, steps: int, note: str = "") -> None:
        if self.said or self.timed_from is None:
            return
        self.said = True
        seconds = (perf_counter() - self.timed_from[1]) / steps
        left = (float(trainer.estimated_stepping_batches) - trainer.global_step) * seconds
        if left <= 0 or not trainer.is_global_zero:
            return
        duration = timedelta(seconds=round(left))  # printed as 2:46:40
        line = f"Estimated time left: {duration}{note} ({seconds:.2g} s per step)."
        if get_console().is_terminal:
            get_console().print(line)  # above the bar
        else:
            log.info(line)


# ~ endif
class EpochLines(Callback):
    """Log a line for each epoch: its mean loss, the score of its validation, and its time."""

    def __init__(self) -> None:
        self.began = perf_counter()
        self.validated = False  # in this epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.began, self.validated = perf_counter(), False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the epoch has a score."""
        self.validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the line of the epoch, after its validation."""
        if not trainer.is_global_zero:
            return
        metrics = {"loss": float(trainer.callback_metrics["train/loss_epoch"])}
        metrics |= trainer.progress_bar_metrics if self.validated else {}
        values = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        seconds, last = perf_counter() - self.began, (trainer.max_epochs or 1) - 1
        log.info("Epoch %d/%d: %s, %.0f s", trainer.current_epoch, last, values, seconds)
