"""Stop a training that has diverged."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ...errors import NotFiniteError
from ..logging_step import is_logging_step


class FiniteLoss(Callback):
    """End with a reason when the loss is infinite or no number, rather than train on for hours."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look as often as the loss is logged, and once an epoch: each look waits for the device.

        Raises:
            NotFiniteError: naming step and loss.
        """
        if not (is_logging_step(trainer, trainer.global_step) or trainer.is_last_batch):
            return
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"The loss is {float(loss)} at step {trainer.global_step}: training has diverged.\n"
                "Lower optimizer.lr, set optimizer.clip_norm, or lengthen schedule.warmup."
            )
