"""Resume a training run within an epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from ...data.datamodule import DataModule
from ..steps import ends_step


class EpochPosition(Callback):
    """Resume an interrupted epoch at its first unused image.

    The checkpoint entry ``position`` has the epoch and the number of its images that were used.
    """

    def __init__(self, datamodule: DataModule) -> None:
        self.data = datamodule
        self.images_before_step = 0  # how many images of the epoch earlier optimiser steps used

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ``position``: the start of the current step or, after the last, of the next epoch."""
        sampler = self.data.sampler
        complete = ends_step(trainer, trainer.fit_loop.batch_idx)
        images = sampler.used_images if complete else self.images_before_step
        position = {"epoch": sampler.epoch, "images": images}
        progress: Any = trainer.fit_loop.epoch_progress.current
        # An epoch may end before its last batch, for example by early stopping.
        if trainer.is_last_batch or progress.processed == progress.started:
            position = {"epoch": sampler.epoch + 1, "images": 0}
        checkpoint["position"] = position

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set the position of the sampler, and adapt Lightning's count of batches to it."""
        # Checkpoints of earlier versions have no position.
        if trainer.state.fn != TrainerFn.FITTING or "position" not in checkpoint:
            return
        sampler, position = self.data.sampler, checkpoint["position"]
        sampler.epoch = position["epoch"]
        # There must be a batch left: after the last batch, Lightning would not validate.
        last_batch = sampler.images_per_epoch - sampler.images_per_batch
        sampler.used_images = min(position["images"], last_batch)
        self.images_before_step = sampler.used_images
        if sampler.used_images:
            counts = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            used = sampler.used_batches
            counts.update(dict.fromkeys(counts, used), completed=used - 1)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the learning rate schedule from the start of the epoch to the next step."""
        steps = self.data.sampler.used_batches // trainer.accumulate_grad_batches
        for config in trainer.lr_scheduler_configs if steps else []:
            scheduler: Any = config.scheduler
            scheduler.last_epoch += steps - 1
            scheduler.step()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of the epoch."""
        sampler = self.data.sampler
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.images_before_step = sampler.used_images
        sampler.used_images += sampler.images_per_batch
