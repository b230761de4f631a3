"""Stop a training run whose loss is not finite."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from ...errors import NotFiniteError
from ..steps import ends_step, is_logging_step


class FiniteLoss(Callback):
    """Raise an error when the loss is infinite or NaN."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Check the loss at logging steps and at the end of an epoch; checks wait for the GPU.

        Raises:
            NotFiniteError: if the loss is not finite; the message suggests settings to change.
        """
        logged = ends_step(trainer, batch_idx) and is_logging_step(trainer, trainer.global_step)
        if not (logged or trainer.is_last_batch):
            return
        loss = outputs["loss"]
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"The loss is {float(loss)} at step {trainer.global_step}: training has diverged.\n"
                "Lower optimizer.lr, set optimizer.clip_norm, or raise schedule.warmup."
            )
