"""Keep a moving average of the weights, and use it wherever weights are judged or kept."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

_TRAINED = "trained_weights"


class WeightAverage(Callback):
    """Exponential moving average of all floating-point weights and buffers.

    ``average = d * average + (1 - d) * weights`` after each optimiser step, with
    ``d = min(decay, (1 + n) / (10 + n))`` after ``n`` updates, so that the first, random weights
    are forgotten soon (the warm-up of TensorFlow's ``ExponentialMovingAverage``).

    Validation runs on the average. A checkpoint's ``state_dict`` is the average as well, so that
    testing, prediction and export need to know nothing of it; the weights that training continues
    from lie beside it, in ``trained_weights``.
    """

    def __init__(self, decay: float, every_n_steps: int) -> None:
        self.decay = decay
        self.every_n_steps = every_n_steps
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] | None = None
        self._last_step = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the weights as they are, unless a checkpoint brought an average."""
        weights = pl_module.state_dict()
        source = self.average or weights
        self.average = {
            name: source[name].detach().clone().to(weights[name].device) for name in weights
        }
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the weights after each optimiser step."""
        step = trainer.global_step
        if step == self._last_step or step % self.every_n_steps:
            return
        self._last_step = step
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self._move(pl_module, decay**self.every_n_steps if self.updates > 1 else decay)

    @torch.no_grad()
    def _move(self, module: LightningModule, decay: float) -> None:
        weights = module.state_dict()
        moving = [name for name, value in weights.items() if value.is_floating_point()]
        # One call for all tensors: many times faster than one for each.
        torch._foreach_lerp_(
            [self.average[name] for name in moving],
            [weights[name] for name in moving],
            1 - decay,
        )
        for name, value in weights.items():
            if not value.is_floating_point():
                self.average[name].copy_(value)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in."""
        if self.average and trainer.state.fn == TrainerFn.FITTING:
            self._trained = {
                name: value.detach().clone() for name, value in pl_module.state_dict().items()
            }
            pl_module.load_state_dict(self.average)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back."""
        self._restore(pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put the trained weights back if a validation broke off."""
        self._restore(pl_module)

    def _restore(self, module: LightningModule) -> None:
        if self._trained is not None:
            module.load_state_dict(self._trained)
            self._trained = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the average as the weights, and the weights beside it."""
        if self.average:
            trained = self._trained or checkpoint["state_dict"]
            checkpoint[_TRAINED] = {"weights": trained, "updates": self.updates}
            checkpoint["state_dict"] = self.average

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """When training continues, take both up again."""
        if trainer.state.fn == TrainerFn.FITTING and _TRAINED in checkpoint:
            # The trainer has loaded them before.
            self.average = {name: value.clone() for name, value in pl_module.state_dict().items()}
            self.updates = checkpoint[_TRAINED]["updates"]
            pl_module.load_state_dict(checkpoint[_TRAINED]["weights"])
