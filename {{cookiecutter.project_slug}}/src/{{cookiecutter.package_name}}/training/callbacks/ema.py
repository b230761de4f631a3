"""Exponential moving average (EMA) of the weights, which validation and checkpoints use."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..steps import ends_step

_TRAINED = "trained_weights"


class WeightAverage(Callback):
    """Exponential moving average of all floating-point weights and buffers.

    After optimiser step ``n``, ``average = d * average + (1 - d) * weights``, where ``d`` is
    ``min(decay, (1 + n) / (10 + n))``. Validation uses it, and it is the ``state_dict`` of a
    checkpoint, whose entry ``trained_weights`` has the weights with which training continues.

    ``WeightAveraging`` of Lightning 2.6 is not suitable: callbacks that come after it see the
    trained weights in ``on_validation_epoch_end``, and each update waits for the GPU twice.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self.weights: dict[str, Tensor] = {}  # of the module, which changes them in place
        self._trained: dict[str, Tensor] | None = None  # set while the module has the average

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, unless a checkpoint contained an average."""
        self.weights = pl_module.state_dict()  # listed once, since it takes longer than an update
        source = self.average or self.weights
        self.average = {
            name: _precise(source[name].detach().clone().to(value.device))
            for name, value in self.weights.items()
        }

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average after an optimiser step."""
        if not ends_step(trainer, batch_idx):
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        floating = [name for name, value in self.weights.items() if value.is_floating_point()]
        average = [self.average[name] for name in floating]
        weights = [_precise(self.weights[name]) for name in floating]
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        update(average, weights, self.updates)
        for name in self.weights.keys() - floating:
            self.average[name].copy_(self.weights[name])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Load the average into the module."""
        if self.average and trainer.state.fn == TrainerFn.FITTING:
            self._trained = {name: value.clone() for name, value in self.weights.items()}
            pl_module.load_state_dict(self.average)

    def on_validation_end(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException | None = None
    ) -> None:
        """Restore the trained weights, also if an exception interrupts validation."""
        if self._trained is not None:
            pl_module.load_state_dict(self._trained)
            self._trained = None

    on_exception = on_validation_end

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as ``state_dict``, and the trained weights as ``trained_weights``."""
        if self.average:
            trained = self._trained or checkpoint["state_dict"]
            checkpoint[_TRAINED] = {"weights": trained, "updates": self.updates}
            checkpoint["state_dict"] = self.average

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """When training resumes, restore the average and the trained weights."""
        if trainer.state.fn == TrainerFn.FITTING and _TRAINED in checkpoint:
            # The trainer has already loaded ``state_dict``, the average, into the module.
            self.average = dict(checkpoint["state_dict"])
            self.updates = checkpoint[_TRAINED]["updates"]
            pl_module.load_state_dict(checkpoint[_TRAINED]["weights"])


def _precise(value: Tensor) -> Tensor:
    """Return a floating-point tensor in 32 bits or more; in 16, rounding loses small updates."""
    return value.float() if value.is_floating_point() and value.itemsize < 4 else value
