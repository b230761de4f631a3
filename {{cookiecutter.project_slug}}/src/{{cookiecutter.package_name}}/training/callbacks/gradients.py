"""Clip the gradients, and log their norm."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from ..steps import is_logging_step


class GradientClipping(Callback):
    """Clip the norm of the gradients; log the norm before clipping and the learning rate.

    It replaces ``Trainer(gradient_clip_val=...)``, which does not support fused optimisers with
    mixed precision. With ``16-mixed``, the optimiser of ``build_optimizer`` is not fused, so that
    Lightning has unscaled the gradients; if they have overflowed, their norm is infinite.
    """

    def __init__(self, clip_norm: float | None) -> None:
        self.clip_norm = clip_norm

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Clip the gradients unless ``clip_norm`` is None, and log their norm at logging steps.

        Lightning divides their sum by ``accumulate_grad_batches``, also in the last step of an
        epoch, which may have fewer batches. They are scaled to the mean over these batches.
        """
        batches = trainer.fit_loop.batch_idx % trainer.accumulate_grad_batches + 1  # of the step
        if batches < trainer.accumulate_grad_batches:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad *= trainer.accumulate_grad_batches / batches
        norm = nn.utils.clip_grad_norm_(pl_module.parameters(), self.clip_norm or float("inf"))
        if is_logging_step(trainer, trainer.global_step + 1):
            # A CPU tensor, since Lightning would copy a float to the GPU and wait for the copy.
            # Other groups of parameters may have lower rates than the head of the network.
            learning_rate = torch.tensor(max(group["lr"] for group in optimizer.param_groups))
            pl_module.log_dict({"train/grad_norm": norm, "train/lr": learning_rate})
