"""Estimate how long a training run takes."""

import logging
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich import get_console

from ...data.reading_summary import number_of

log = logging.getLogger(__name__)

TIMED_STEPS = 20  # optimiser steps after which the remaining time is estimated


class TimeLeft(Callback):
    """Say once how long the training takes: after ``TIMED_STEPS`` steps or the first epoch.

    The first step is not timed, since it is slower than all others.
    """

    def __init__(self) -> None:
        self.epoch_began: float | None = None  # None in an epoch that is resumed
        self.first_step: int | None = None  # the step before the first one of this process
        self.timed_from: tuple[int, float] | None = None  # a step and its time
        self.said = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the first epoch."""
        if self.first_step is None:
            self.first_step, self.epoch_began = trainer.global_step, perf_counter()
            self.timed_from = None  # a resumed epoch is not timed

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how long it takes as soon as enough optimiser steps are done."""
        step = trainer.global_step
        if self.said or step == self.first_step:
            return
        if self.timed_from is None:
            self.timed_from = step, perf_counter()
        elif step - self.timed_from[0] >= TIMED_STEPS:
            seconds = (perf_counter() - self.timed_from[1]) / (step - self.timed_from[0])
            left = (float(trainer.estimated_stepping_batches) - step) * seconds
            self._say(trainer, left, f"without validation ({seconds:.2g} s per step)")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how long it takes after a first epoch of few steps, with its validation."""
        if not self.said and self.epoch_began is not None:
            seconds = perf_counter() - self.epoch_began
            left = ((trainer.max_epochs or 0) - trainer.current_epoch - 1) * seconds
            self._say(trainer, left, f"({seconds:.2g} s per epoch)")

    def _say(self, trainer: Trainer, seconds: float, detail: str) -> None:
        self.said = True
        if seconds <= 0 or not trainer.is_global_zero:
            return
        line = f"Estimated time left: {_rounded(seconds)} {detail}."
        if get_console().is_terminal:
            get_console().print(line)  # above the bar
        else:
            log.info(line)


def _rounded(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, such as ``14 minutes``."""
    if seconds < 100:
        return number_of(max(round(seconds), 1), "seconds")
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
