"""Clip the gradients, and log their norm and the learning rate."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from ..logging_step import is_logging_step


class Gradients(Callback):
    """Clip the gradients to a norm; log the norm before clipping and the learning rate.

    ``Trainer(gradient_clip_val=...)`` refuses fused optimisers under mixed precision, hence this
    callback. It is right for 32-bit and bfloat16 precision only: float16 gradients are still
    scaled when Lightning calls ``on_before_optimizer_step``.
    """

    def __init__(self, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Clip after the backward pass; without a limit, the norm is only logged."""
        norm = nn.utils.clip_grad_norm_(pl_module.parameters(), self.clip_norm or float("inf"))
        if is_logging_step(trainer, trainer.global_step + 1):
            # A tensor on the CPU: Lightning would copy a number to the GPU and wait for the copy.
            learning_rate = torch.tensor(optimizer.param_groups[0]["lr"])
            pl_module.log_dict({"train/grad_norm": norm, "train/lr": learning_rate})
