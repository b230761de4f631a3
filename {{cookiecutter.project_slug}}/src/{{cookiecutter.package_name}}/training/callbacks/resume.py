"""Make a resumed training run equal to an uninterrupted one."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from ...data.datamodule import DataModule
from ...data.sampler import random_seed
from ..logging_step import ends_step

# The settings of the optimiser that a resumed run may change, although Lightning restores them.
GROUP_SETTINGS = ("weight_decay", "betas", "momentum")


class ExactResume(Callback):
    """Continue an epoch with its next image, and seed PyTorch before every batch.

    Random numbers therefore do not depend on earlier batches. The checkpoint entry ``position``
    holds the epoch and the number of its images that have been used.
    """

    def __init__(self, datamodule: DataModule) -> None:
        self.data = datamodule
        self.images_before_step = 0  # how many images of the epoch earlier optimiser steps used
        self.groups: list[dict[str, Any]] = []
        self.max_steps = -1

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add ``position``, which after the last batch is the start of the next epoch.

        Between batches whose gradients are added up, it is the start of the optimiser step, since a
        checkpoint has no gradients.
        """
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
        """Set the position of the sampler, and adapt the checkpoint to the current settings.

        Lightning counts batches. The count is replaced, so that the epoch ends after its last image
        if the batch size or the number of processes has changed. The state of the learning rate is
        removed, see ``on_train_start``, early stopping uses the current patience, and the best
        checkpoints are those in the current folder of the run.
        """
        if trainer.state.fn != TrainerFn.FITTING:
            return
        sampler = self.data.sampler
        next_epoch = {"epoch": checkpoint["epoch"] + 1, "images": 0}
        position = checkpoint.get("position", next_epoch)  # earlier versions have no position
        sampler.epoch = position["epoch"]
        # There must be a batch left: after the last batch, Lightning would not validate.
        last_batch = sampler.images_per_epoch - sampler.images_per_batch
        sampler.used_images = min(position["images"], last_batch)
        if sampler.used_images:
            counts = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            used = sampler.used_batches
            counts.update(dict.fromkeys(counts, used), completed=used - 1)
        checkpoint["lr_schedulers"] = []
        for stopping in trainer.early_stopping_callbacks:
            checkpoint["callbacks"].get(stopping.state_key, {})["patience"] = stopping.patience
        for saved in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"].get(saved.state_key)
            if state and isinstance(saved, ModelCheckpoint):
                _move_checkpoints(state, str(saved.dirpath))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what Lightning must not restore from a checkpoint.

        That is the settings of the optimiser, and ``max_steps``, with which Lightning would repeat
        the end of the last epoch.
        """
        self.groups = [
            {key: group[key] for key in GROUP_SETTINGS if key in group}
            for group in trainer.optimizers[0].param_groups
        ]
        loop = trainer.fit_loop.epoch_loop
        self.max_steps, loop.max_steps = loop.max_steps, -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the learning rate schedule to this step; stop if early stopping had done so."""
        trainer.fit_loop.epoch_loop.max_steps = self.max_steps
        for group, settings in zip(trainer.optimizers[0].param_groups, self.groups, strict=True):
            group.update(settings)
        batches = trainer.accumulate_grad_batches
        steps = math.ceil(trainer.num_training_batches / batches)
        step = trainer.current_epoch * steps + self.data.sampler.used_batches // batches
        for config in trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            scheduler.last_epoch = step - 1
            scheduler.step()
        for stopping in trainer.early_stopping_callbacks:
            trainer.should_stop |= stopping.wait_count >= stopping.patience

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the images, and seed PyTorch with the position and the rank of this process."""
        sampler = self.data.sampler
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self.images_before_step = sampler.used_images
        sampler.used_images += sampler.images_per_batch
        place = (sampler.epoch, sampler.used_images, trainer.global_rank)
        seed = random_seed(self.data.seed, *place)
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


def _move_checkpoints(state: dict[str, Any], folder: str) -> None:
    """Set the folder in the state of a ``ModelCheckpoint``, since the run may have been moved.

    Otherwise, Lightning would forget the best scores. Files that are not there are left out, but
    the best one is there as ``best.ckpt``, too.
    """
    if state["dirpath"] == folder:
        return
    best_path = state["best_model_path"]

    def moved(path: str) -> str:
        new = Path(folder, Path(path).name)
        names = (new.name, "best.ckpt") if path == best_path else (new.name,)
        return str(new) if any(new.with_name(name).is_file() for name in names) else ""

    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = moved(state[name])
    best = {moved(path): score for path, score in state["best_k_models"].items()}
    state |= {"dirpath": folder, "best_k_models": {path: best[path] for path in best if path}}
