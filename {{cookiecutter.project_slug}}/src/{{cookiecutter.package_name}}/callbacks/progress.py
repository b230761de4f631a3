"""What the progress bar says."""

from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

# Name and format in the bar, where the full ones would take several lines.
SHORT: dict[str, tuple[str, Callable[[float], str]]] = {
    "perf/images_per_second": ("images/s", "{:.0f}".format),
    "perf/data_wait": ("waits", "{:.0%}".format),
    "perf/memory_gb": ("memory", "{:.1f}GB".format),
}


class ProgressBar(RichProgressBar):
    """A bar that stays, with short names for how fast it goes."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        found = super().get_metrics(trainer, pl_module)
        short = {
            name: told(value)
            for key, (name, told) in SHORT.items()
            if isinstance(value := found.pop(key, None), float)
        }
        return {**found, **short}
