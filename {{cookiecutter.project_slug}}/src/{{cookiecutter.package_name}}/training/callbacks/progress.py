"""A progress bar with the loss and the speed."""

from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ..logging_step import is_logging_step

# Short names and formats of metrics, since full names would take several lines of the bar.
SHORT: dict[str, tuple[str, Callable[[float], str]]] = {
    "train/loss": ("loss", "{:.3f}".format),
    "perf/images_per_second": ("images/s", "{:.0f}".format),
    "perf/data_wait": ("waits", "{:.0%}".format),
    "perf/memory_gb": ("memory", "{:.1f}GB".format),
}


class ProgressBar(RichProgressBar):
    """A progress bar that shows the loss and the speed of the last logged step.

    These metrics are not logged with ``prog_bar=True``: Lightning would synchronise the GPU for
    each of them in every step.
    """

    def __init__(self) -> None:
        super().__init__(leave=True)
        self.shown: dict[str, str] = {}

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return the values that are shown to the right of the bar."""
        if is_logging_step(trainer, trainer.global_step):
            metrics = trainer.callback_metrics
            for key, (name, write) in SHORT.items():
                if key in metrics:
                    self.shown[name] = write(float(metrics[key]))
        return {**super().get_metrics(trainer, pl_module), **self.shown}
