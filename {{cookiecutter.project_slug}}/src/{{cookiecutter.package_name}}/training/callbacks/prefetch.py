"""Load the first batches of the next epoch while validation runs."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ...data.datamodule import FastLoader


class PrefetchNextEpoch(Callback):
    """After the last step of an epoch, let the workers load the first batches of the next epoch."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prepare the next epoch, unless training ends."""
        epoch, loader = trainer.current_epoch + 1, trainer.train_dataloader
        ends = trainer.max_epochs == epoch or trainer.max_steps == trainer.global_step
        if trainer.is_last_batch and not ends and isinstance(loader, FastLoader):
            loader.prepare(epoch)
