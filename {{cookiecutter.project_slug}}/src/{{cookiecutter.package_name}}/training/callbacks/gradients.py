"""Clip the gradients, and log their norm and the learning rate."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

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
