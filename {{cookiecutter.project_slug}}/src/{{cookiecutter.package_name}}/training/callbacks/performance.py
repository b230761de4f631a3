"""Measure the speed of a training and its waiting time for data."""

import sys
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..logging_step import is_logging_step

if sys.platform != "win32":
    import resource


class Performance(Callback):
    """Log ``perf/...``: means over the steps since the last logged step, by wall clock.

    Validation is not measured, and neither are the first steps, which start workers and choose
    kernels. The GPU is synchronised after these steps and at the end only: in between it is a few
    steps behind at most, which hardly changes a mean over many steps. This must be the last
    callback of the trainer, or the time of later callbacks would count as waiting for data.
    """

    def __init__(self, *, skip: int = 1) -> None:
        self.skip = skip
        self.seen = 0
        self._restart()

    def _restart(self) -> None:
        self.images = self.steps = 0
        self.seconds = self.waited = 0.0
        self.began = self.ended = perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start measuring: a resumed epoch calls no ``on_train_epoch_start``."""
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to wait for the first batch."""
        self.ended = perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note when the batch arrived."""
        self.began = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the time of the step; log at logging steps."""
        self.seen += 1
        if self.seen <= self.skip:
            if self.seen == self.skip:
                synchronise(pl_module.device)
                self._restart()
            return
        now = perf_counter()
        self.waited += self.began - self.ended
        self.seconds += now - self.ended
        self.images += len(batch.images)
        self.steps += 1
        self.ended = now
        if is_logging_step(trainer, trainer.global_step):
            pl_module.log_dict(self.measured(trainer, pl_module))
            self._restart()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the time until the GPU has finished its last steps."""
        began = perf_counter()
        synchronise(pl_module.device)
        self.seconds += perf_counter() - began

    def measured(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        """Compute the means over the steps since the last logged step.

        Returns:
            ``perf/images_per_second`` of all processes together; ``perf/data_wait``, the share of
            the time spent waiting for data; ``perf/step_ms``; and ``peak_memory``.
        """
        return {
            "perf/images_per_second": self.images * trainer.world_size / self.seconds,
            "perf/data_wait": self.waited / self.seconds,
            "perf/step_ms": 1000 * self.seconds / self.steps,
            **peak_memory(module.device),
        }


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; do nothing for other devices."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return ``perf/memory_gb``: the peak memory of this process, on the GPU or else in RAM."""
    if device.type == "cuda":
        return {"perf/memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}
    if sys.platform == "win32":
        return {}
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, else kB
    return {"perf/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
