"""How fast a training is, and what it waits for."""

import sys
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ..logging_step import is_logging_step

if sys.platform != "win32":
    import resource


class Performance(Callback):
    """Log ``perf/...``: what the steps since the last logged one took, by the clock.

    Validation is left out, and so are the first steps, which start workers and choose kernels. A
    GPU is waited for after these and at the end, not in between: it is a few steps behind at most,
    and means over more are right. It is the last callback: others' time must not pass for waiting.
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
        """The rest of an epoch that is resumed has no start of its own."""
        self._restart()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, the first batch is waited for."""
        self.ended = perf_counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        self.began = perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step; log now and then."""
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
        """A GPU may have work left."""
        began = perf_counter()
        synchronise(pl_module.device)
        self.seconds += perf_counter() - began

    def measured(self, trainer: Trainer, module: LightningModule) -> dict[str, float]:
        """What the steps since the last logged one took.

        Returns:
            Images per second of all processes, the share of the time that waits for data,
            milliseconds per step, and the peak of the memory so far (see ``peak_memory``).
        """
        return {
            "perf/images_per_second": self.images * trainer.world_size / self.seconds,
            "perf/data_wait": self.waited / self.seconds,
            "perf/step_ms": 1000 * self.seconds / self.steps,
            **peak_memory(module.device),
        }


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most gigabytes that this process has held: on the GPU, else in main memory."""
    if device.type == "cuda":
        return {"perf/memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}
    if sys.platform == "win32":
        return {}
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kilobytes here
    return {"perf/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
