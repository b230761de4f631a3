"""Measure the speed of training and the time spent waiting for data."""

import sys
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..steps import ends_step, is_logging_step

if sys.platform != "win32":
    import resource


class Performance(Callback):
    """Log ``perf/...``: means over the steps since the last log, and the peak memory.

    Validation and the first ``skip`` batches, which start workers and select kernels, are excluded.
    The GPU is synchronised after the skipped batches and at the end only. The time of callbacks
    that follow this one counts as waiting for data.
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
        """Start measuring, since ``on_train_epoch_start`` is not called in a resumed epoch."""
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record when the wait for the first batch starts."""
        self.ended = perf_counter()

    on_validation_end = on_train_epoch_start  # leaves out the time of a validation within an epoch

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record when the wait for the batch ends."""
        self.began = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the time of the batch, and log the means at logging steps."""
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
        self.ended = now
        if not ends_step(trainer, batch_idx):
            return
        self.steps += 1
        if is_logging_step(trainer, trainer.global_step):
            pl_module.log_dict(self.measured(trainer, pl_module))
            self._restart()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the time until the GPU has finished its last steps."""
        began = perf_counter()
        synchronise(pl_module.device)
        self.seconds += perf_counter() - began

    def measured(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        """Return the means over the steps since the last log, and the peak memory."""
        return {
            "perf/images_per_second": self.images * trainer.world_size / self.seconds,
            "perf/data_wait": self.waited / self.seconds,  # fraction of the time
            "perf/step_ms": 1000 * self.seconds / self.steps,
            **peak_memory(module.device),
        }


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; do nothing for other devices."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Return ``perf/memory_gb``, the peak GPU memory of this process, or its peak RAM on CPUs."""
    if device.type == "cuda":
        return {"perf/memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}
    if sys.platform == "win32":
        return {}
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, else kB
    return {"perf/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
