"""Build the optimiser and the learning rate schedule."""

import math

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..settings.tree import Settings

FUSED_ON = {"cpu", "cuda"}


def build_optimizer(
    network: nn.Module, settings: Settings, steps: int
) -> OptimizerLRSchedulerConfig:
    """Build the optimiser and its learning rate schedule, a linear warm-up and a cosine decay.

    Args:
        network: the network to train; biases and normalisation layers get no weight decay.
        settings: the sections ``optimizer`` and ``schedule`` are used.
        steps: total number of optimiser steps.

    Returns:
        The return value for ``LightningModule.configure_optimizers``.
    """
    chosen = settings.optimizer
    groups = param_groups_weight_decay(network, chosen.weight_decay)
    fused = all(parameter.device.type in FUSED_ON for parameter in network.parameters())
    optimizer: Optimizer
    if chosen.name == "adamw":
        optimizer = AdamW(groups, lr=chosen.lr, betas=(chosen.momentum, 0.999), fused=fused)
    else:
        optimizer = SGD(
            groups,
            lr=chosen.lr,
            momentum=chosen.momentum,
            nesterov=chosen.momentum > 0,
            fused=fused,
        )
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": _schedule(optimizer, settings, steps), "interval": "step"},
    }


def _schedule(optimizer: Optimizer, settings: Settings, steps: int) -> LambdaLR:
    warmup = round(settings.schedule.warmup * steps)
    floor = settings.schedule.final_lr

    def factor(step: int) -> float:
        """Return the learning rate of a step, counted from 0, as a share of ``optimizer.lr``."""
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)
