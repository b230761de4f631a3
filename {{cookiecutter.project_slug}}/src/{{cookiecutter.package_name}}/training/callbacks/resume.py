"""Make a resumed training run equal to an uninterrupted one."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from ...data.datamodule import DataModule
from ...data.sampler import random_seed

# The settings of the optimiser that a resumed run may change, although Lightning restores them.
GROUP_SETTINGS = ("weight_decay", "betas", "momentum")


class ExactResume(Callback):
    """Restore what Lightning does not restore, and seed PyTorch before every batch."""

    def __init__(self, datamodule: DataModule) -> None:
        self.data = datamodule
        self.groups: list[dict[str, Any]] = []
        self.max_steps = -1

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set the epoch of the sampler, and adapt the checkpoint to the current settings."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        # Lightning sets it, too, but after the workers have begun to load.
        self.data.sampler.epoch = checkpoint["epoch"] + 1
        checkpoint["lr_schedulers"] = []  # see on_train_start
        for stopping in trainer.early_stopping_callbacks:
            checkpoint["callbacks"].get(stopping.state_key, {})["patience"] = stopping.patience
        for saved in trainer.checkpoint_callbacks:
            folder = getattr(saved, "dirpath", None)  # of a ModelCheckpoint
            if folder and Path(folder, "best.ckpt").is_file():
                # If the folder differs, as in a run that was moved, the best scores are discarded.
                checkpoint["callbacks"].get(saved.state_key, {})["dirpath"] = folder

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the settings of the optimiser, which Lightning would restore from a checkpoint."""
        self.groups = [
            {key: group[key] for key in GROUP_SETTINGS if key in group}
            for group in trainer.optimizers[0].param_groups
        ]
        # The limit is lifted until ``on_train_start``: if the checkpoint has reached it, Lightning
        # would otherwise call the hooks at the end of the last epoch a second time.
        loop = trainer.fit_loop.epoch_loop
        self.max_steps, loop.max_steps = loop.max_steps, -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the learning rate schedule to this epoch; stop if the run had been stopped early."""
        trainer.fit_loop.epoch_loop.max_steps = self.max_steps
        for group, settings in zip(trainer.optimizers[0].param_groups, self.groups, strict=True):
            group.update(settings)
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        for config in trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            scheduler.last_epoch = trainer.current_epoch * steps - 1
            scheduler.step()
        for stopping in trainer.early_stopping_callbacks:
            trainer.should_stop |= stopping.wait_count >= stopping.patience

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed PyTorch with the epoch, the batch and the rank of this process."""
        sampler = self.data.sampler
        images = (batch_idx + 1) * sampler.images_per_batch
        seed = random_seed(self.data.seed, sampler.epoch, images, trainer.global_rank)
        # ``torch.manual_seed`` sets all kinds of devices, which takes 100 times as long.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif pl_module.device.type == "mps":
            torch.mps.manual_seed(seed)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the buffers of the first process, which a checkpoint contains, to all processes.

        Otherwise, the statistics of BatchNorm layers would differ until training is resumed.
        """
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)
