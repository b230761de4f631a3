"""Clip gradients, stop at a loss that is not finite, and log the mean loss of each epoch."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import NotFiniteError
from ..steps import ends_step, is_logging_step


class GradientClipping(Callback):
    """Clip the norm of the gradients; log the norm before clipping and the learning rate.

    ``Trainer(gradient_clip_val=...)`` does not support fused optimisers with mixed precision. With
    ``16-mixed``, the optimiser is not fused, so that Lightning has unscaled the gradients; if they
    have overflowed, their norm is infinite.
    """

    def __init__(self, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm
        self.batches = 0  # of the current step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the batches of the step, which may be fewer than ``accumulate_grad_batches``."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.batches = 0
        self.batches += 1

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Clip the gradients unless ``clip_norm`` is None, and log their norm at logging steps."""
        # Lightning divides their sum by ``accumulate_grad_batches``, although the last step of an
        # epoch may have fewer batches, and the first of a run that is resumed with other settings.
        if self.batches < trainer.accumulate_grad_batches:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad *= trainer.accumulate_grad_batches / self.batches
        norm = nn.utils.clip_grad_norm_(pl_module.parameters(), self.clip_norm or float("inf"))
        if is_logging_step(trainer, trainer.global_step + 1):
            # A CPU tensor, since Lightning would copy a float to the GPU and wait for the copy.
            # Other groups of parameters may have lower rates than the head of the network.
            learning_rate = torch.tensor(max(group["lr"] for group in optimizer.param_groups))
            pl_module.log_dict({"train/grad_norm": norm, "train/lr": learning_rate})


class FiniteLoss(Callback):
    """Raise an error when the loss is infinite or NaN."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the loss at logging steps and at the end of an epoch; checks wait for the GPU."""
        logged = ends_step(trainer, batch_idx) and is_logging_step(trainer, trainer.global_step)
        if (logged or trainer.is_last_batch) and not torch.isfinite(outputs["loss"]):
            raise NotFiniteError(
                f"The loss is {float(outputs['loss'])} at step {trainer.global_step}: training has "
                "diverged.\nLower optimizer.lr, set optimizer.clip_norm, or raise schedule.warmup."
            )


# ~ if cookiecutter.scope == "complete"
def _processes() -> tuple[int, int]:
    """Return the number of processes that train together, and the rank of this process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return 1, 0


# ~ endif
class EpochLog(Callback):
    """Log the mean loss of each epoch, ``train/loss_epoch``; validate at ``trainer.max_steps``."""

    def __init__(self) -> None:
        self.total: Tensor = torch.zeros(())  # of the batches of whole steps
        self.batches = 0
        self.step_losses: list[Tensor] = []  # of the batches of a step that has not ended

    # ~ if cookiecutter.scope == "complete"
    def state_dict(self) -> dict[str, Any]:
        """Return the sum of this epoch's losses in each process, and the number of batches.

        All processes must call this method, since it gathers their sums. A step that has not ended
        is left out, since a resumed run repeats its batches.
        """
        totals, (processes, _) = [self.total], _processes()
        if processes > 1:
            totals = [torch.zeros_like(self.total) for _ in range(processes)]
            torch.distributed.all_gather(totals, self.total)
        return {"total": torch.stack(totals).cpu(), "batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the mean of an epoch that is resumed, which has no ``on_train_epoch_start``."""
        totals, self.batches = state_dict["total"].reshape(-1), state_dict["batches"]
        processes, rank = _processes()
        self.total = totals[rank] if len(totals) == processes else totals.mean()

    # ~ endif
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reduce the interval of logging, so that each epoch has a step that is logged."""
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        interval = min(trainer.log_every_n_steps, steps)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]
        self.total = self.total.to(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a new mean."""
        self.total, self.batches = torch.zeros((), device=pl_module.device), 0
        self.step_losses = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of the batch, without waiting for the device; stop at ``max_steps``."""
        # Lightning has divided it by ``accumulate_grad_batches``.
        self.step_losses.append(outputs["loss"].float() * trainer.accumulate_grad_batches)
        if not ends_step(trainer, batch_idx):
            return
        self.total = self.total + sum(self.step_losses)
        self.batches += len(self.step_losses)
        self.step_losses = []
        if trainer.global_step == trainer.max_steps:
            trainer.should_stop = True  # otherwise, Lightning would end without a validation

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean loss of the epoch over all processes."""
        pl_module.log("train/loss_epoch", self.total / max(1, self.batches), sync_dist=True)
