"""Histograms of gradients and weights: ``gradients/<name>`` and ``parameters/<name>``.

``wandb.watch`` would log them within the backward pass, where an error of W&B ends the training.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from .logger import RunLogger

BINS = 64


class Histograms(Callback):
    """Log the histograms that ``tracking.watch`` asks for, in the first step and at intervals."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Log the gradients, which are clipped already, and the weights before the step."""
        watched, step = self.logger.tracking.watch, trainer.global_step + 1
        every = self.logger.tracking.watch_every_n_steps
        if watched is None or (step % every and step != 1):
            return
        with self.logger.guarded("logging histograms"):
            tensors: dict[str, Tensor] = {}
            for name, weights in pl_module.named_parameters():
                if watched != "gradients":
                    tensors[f"parameters/{name}"] = weights
                if watched != "parameters" and weights.grad is not None:
                    tensors[f"gradients/{name}"] = weights.grad
            values = {name: self._histogram(tensor) for name, tensor in tensors.items()}
            self.logger.log_metrics(values, trainer.global_step)

    def _histogram(self, tensor: Tensor) -> Any:
        numbers = tensor.detach().float().flatten().cpu()
        numbers = numbers[numbers.isfinite()]
        if not len(numbers):
            numbers = torch.zeros(1)
        low, high = numbers.min().item(), numbers.max().item()
        if low == high:
            low, high = low - 0.5, high + 0.5
        counts, edges = torch.histogram(numbers, BINS, range=(low, high))
        return self.logger.wandb.Histogram(np_histogram=(counts.int().tolist(), edges.tolist()))
