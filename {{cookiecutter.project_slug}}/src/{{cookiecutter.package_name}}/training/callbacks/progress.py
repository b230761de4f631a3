"""Show the progress of training: a bar for each epoch, or a line where there is no terminal."""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from ...data.reading_summary import number_of
from ..logging_step import is_logging_step

log = logging.getLogger(__name__)

TIMED_STEPS = 20  # optimiser steps after which the remaining time is estimated
SHORT_EPOCH = 5  # seconds; of the lines of shorter epochs, only about MAX_LINES are logged
MAX_LINES = 10
OTHER_COLUMNS = 40  # characters of a line to the left of the metrics

# Short names and formats of metrics, the most important first; a short line drops the last ones.
SHORT: dict[str, tuple[str, Callable[[float], str]]] = {
    "train/loss": ("loss", "{:.3f}".format),
    # ~ if cookiecutter.scope == "complete"
    "perf/images_per_second": ("images/s", "{:.0f}".format),
    "perf/data_wait": ("data wait", "{:.0%}".format),
    "perf/memory_gb": ("memory", "{:.1f}GB".format),
    # ~ endif
}


class ProgressBar(RichProgressBar):
    """A progress bar of one line that shows the loss and the speed of the last logged step.

    These metrics are not logged with ``prog_bar=True``: Lightning would synchronise the GPU for
    each of them in every step.
    """

    def __init__(self) -> None:
        super().__init__(leave=True)
        self.shown: dict[str, str] = {}
        self.text = ""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Set the text to the right of the bar; Lightning would wrap values that are returned."""
        if is_logging_step(trainer, trainer.global_step):
            metrics = trainer.callback_metrics
            for key, (name, write) in SHORT.items():
                if key in metrics:
                    self.shown[name] = write(float(metrics[key]))
        scores = {
            name: f"{float(value):.3f}" for name, value in trainer.progress_bar_metrics.items()
        }
        loss = {name: value for name, value in self.shown.items() if name == "loss"}
        parts = [f"{name} {value}" for name, value in (loss | scores | self.shown).items()]
        while parts and len(" ".join(parts)) > get_console().width - OTHER_COLUMNS:
            parts.pop()
        self.text = " ".join(parts)
        return {}

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Return columns that fit into a line of 80 characters."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Metrics(self),
        ]


class _Metrics(ProgressColumn):
    """The metrics of the training, cut at the end of the line."""

    def __init__(self, bar: ProgressBar) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self.bar = bar

    def render(self, task: Task) -> Text:
        return Text(self.bar.text if task.id == self.bar.train_progress_bar_id else "")


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


class EpochLines(Callback):
    """Log a line for each epoch: its mean loss, the scores of the validation, and its time.

    Of short epochs, about ``MAX_LINES`` have a line, and the last one always has.
    """

    def __init__(self) -> None:
        self.began = perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.began = perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the line of the epoch, after its validation."""
        epoch, last = trainer.current_epoch, (trainer.max_epochs or 1) - 1
        seconds = perf_counter() - self.began
        skipped = seconds < SHORT_EPOCH and (epoch + 1) % (last // MAX_LINES + 1)
        if not trainer.is_global_zero or (skipped and epoch != last and not trainer.should_stop):
            return
        metrics: dict[str, Any] = {"loss": trainer.callback_metrics.get("train/loss_epoch")}
        metrics |= trainer.progress_bar_metrics
        values = [
            f"{name} {float(value):.3f}" for name, value in metrics.items() if value is not None
        ]
        log.info("Epoch %d/%d: %s, %.0f s", epoch, last, ", ".join(values), seconds)
