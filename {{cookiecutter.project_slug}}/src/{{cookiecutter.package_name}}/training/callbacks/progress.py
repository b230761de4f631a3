"""What the progress bar says."""

from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ..logging_step import is_logging_step

# Name and format in the bar, where the full ones would take several lines.
SHORT: dict[str, tuple[str, Callable[[float], str]]] = {
    "train/loss": ("loss", "{:.3f}".format),
    "perf/images_per_second": ("images/s", "{:.0f}".format),
    "perf/data_wait": ("waits", "{:.0%}".format),
    "perf/memory_gb": ("memory", "{:.1f}GB".format),
}


class ProgressBar(RichProgressBar):
    """A bar that stays, and tells the loss and the speed as often as they are logged.

    They are not logged with ``prog_bar``: Lightning would wait for the GPU for each of them, in
    each step.
    """

    def __init__(self) -> None:
        super().__init__(leave=True)
        self.told: dict[str, str] = {}

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        if is_logging_step(trainer, trainer.global_step):
            metrics = trainer.callback_metrics
            for key, (name, tell) in SHORT.items():
                if key in metrics:
                    self.told[name] = tell(float(metrics[key]))
        return {**super().get_metrics(trainer, pl_module), **self.told}
