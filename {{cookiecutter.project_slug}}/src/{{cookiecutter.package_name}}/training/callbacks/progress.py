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

from ..steps import is_logging_step

log = logging.getLogger(__name__)

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
