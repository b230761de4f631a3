"""Build the optimiser and the learning rate schedule."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
# ~ if cookiecutter.scope == "essential"
from timm.optim import param_groups_weight_decay
# ~ endif
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

# ~ if cookiecutter.scope == "complete"
from ..errors import UsageError
from ..settings.schema import Settings
from .parameter_groups import parameter_groups

# ~ else
from ..settings.schema import Settings

# ~ endif
FUSED_ON = {"cpu", "cuda"}


def build_optimizer(
    network: nn.Module, settings: Settings, trainer: Trainer
) -> OptimizerLRSchedulerConfig:
    """Build the optimiser and its learning rate schedule, a linear warm-up and a cosine decay.

    Biases and normalisation layers get no weight decay. The schedule covers all optimiser steps of
    the trainer. The result is that of ``LightningModule.configure_optimizers``.
    """
    chosen = settings.optimizer
    # ~ if cookiecutter.scope == "complete"
    groups = parameter_groups(network, chosen)
    # ~ else
    groups = param_groups_weight_decay(network, chosen.weight_decay)
    # ~ endif
    # Lightning unscales the gradients of 16-mixed only for optimisers that are not fused.
    fused = trainer.precision != "16-mixed" and all(
        parameter.device.type in FUSED_ON for parameter in network.parameters()
    )
    optimizer: Optimizer
    if chosen.name == "adamw":
        optimizer = AdamW(groups, lr=chosen.lr, betas=(chosen.momentum, 0.999), fused=fused)
    else:
        nesterov = chosen.momentum > 0
        optimizer = SGD(groups, chosen.lr, chosen.momentum, nesterov=nesterov, fused=fused)
    # ~ if cookiecutter.scope == "complete"
    try:
        steps = int(trainer.estimated_stepping_batches)
    except ValueError as error:
        interval = settings.trainer.val_check_interval
        raise UsageError(
            f"trainer.val_check_interval={interval} is more than the batches of an epoch. Choose a "
            f"smaller number, or a fraction up to 1.0.\nLightning says: {str(error).strip()}"
        ) from error
    # ~ else
    steps = int(trainer.estimated_stepping_batches)
    # ~ endif
    warmup, floor = round(settings.schedule.warmup * steps), settings.schedule.final_lr

    def factor(step: int) -> float:
        """Return the factor of the learning rate of each group in a step, counted from 0."""
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2

    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
    }
