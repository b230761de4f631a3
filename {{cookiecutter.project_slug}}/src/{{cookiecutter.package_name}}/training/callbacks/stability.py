"""Clip the gradients, and stop a training that diverges."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from ...errors import NotFiniteError
from ..logging_step import is_logging_step


class Gradients(Callback):
    """Clip the norm of the gradients; log the norm before clipping and the learning rate.

    It replaces ``Trainer(gradient_clip_val=...)``, which does not support fused optimisers with
    mixed precision. It is not correct for float16, whose gradients are still scaled when Lightning
    calls ``on_before_optimizer_step``.
    """

    def __init__(self, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Clip the gradients unless ``clip_norm`` is None, and log their norm at logging steps."""
        norm = nn.utils.clip_grad_norm_(pl_module.parameters(), self.clip_norm or float("inf"))
        if is_logging_step(trainer, trainer.global_step + 1):
            # A CPU tensor, since Lightning would copy a float to the GPU and wait for the copy.
            learning_rate = torch.tensor(optimizer.param_groups[0]["lr"])
            pl_module.log_dict({"train/grad_norm": norm, "train/lr": learning_rate})


class FiniteLoss(Callback):
    """Raise an error when the loss is infinite or NaN."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the loss at logging steps and at the end of an epoch; checks wait for the GPU.

        Raises:
            NotFiniteError: if the loss is not finite; the message suggests settings to change.
        """
        if not (is_logging_step(trainer, trainer.global_step) or trainer.is_last_batch):
            return
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"The loss is {float(loss)} at step {trainer.global_step}: training has diverged.\n"
                "Lower optimizer.lr, set optimizer.clip_norm, or lengthen schedule.warmup."
            )
