"""Build the optimiser and the learning rate schedule."""

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_weight_decay
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

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


def _schedule(optimizer: torch.optim.Optimizer, settings: Settings, steps: int) -> LRScheduler:
    warmup = round(settings.schedule.warmup * steps)
    floor = settings.optimizer.lr * settings.schedule.final_lr
    cosine = CosineAnnealingLR(optimizer, T_max=max(1, steps - warmup), eta_min=floor)
    if not warmup:
        return cosine
    rising = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rising, cosine], milestones=[warmup])
