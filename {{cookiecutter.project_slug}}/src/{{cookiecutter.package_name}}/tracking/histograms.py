"""Histograms of gradients and weights: ``gradients/<name>`` and ``parameters/<name>``.

``wandb.watch`` would log them within the backward pass, where an error of W&B ends the training.
"""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from .logger import RunLogger


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
            values = {}
            for name, weights in pl_module.named_parameters():
                for kind, tensor in (("parameters", weights), ("gradients", weights.grad)):
                    if tensor is not None and watched in {kind, "all"}:
                        numbers = tensor.detach().cpu().double()  # float32 can be too coarse
                        finite = numbers[numbers.isfinite()].numpy()
                        values[f"{kind}/{name}"] = self.logger.wandb.Histogram(finite)
            self.logger.log_metrics(values, trainer.global_step)
