"""Estimate how long a training run takes."""

import logging
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich import get_console

from ...data.reading_summary import number_of
from ..steps import ends_step

log = logging.getLogger(__name__)

TIMED_STEPS = 20  # optimiser steps after which the remaining time is estimated


class TimeLeft(Callback):
    """Say once how long the training takes: after ``TIMED_STEPS`` steps or a shorter epoch.

    The first step is not timed, since it is slower than all others.
    """

    def __init__(self) -> None:
        self.timed_from: tuple[int, float] | None = None  # the first step and the time of its end
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
        if self.timed_from is not None:
            self._say(trainer, trainer.global_step - self.timed_from[0] + 1)

    def _say(self, trainer: Trainer, steps: int, note: str = "") -> None:
        if self.said or self.timed_from is None:
            return
        self.said = True
        seconds = (perf_counter() - self.timed_from[1]) / steps
        left = (float(trainer.estimated_stepping_batches) - trainer.global_step) * seconds
        if left <= 0 or not trainer.is_global_zero:
            return
        line = f"Estimated time left: {_rounded(left)}{note} ({seconds:.2g} s per step)."
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
