"""Images per second of ``train`` with a wait in place of the model, and of the slower one of loader and waits.

``feed.py files|cache WORKERS BATCHES EPOCHS``: the epochs have so many batches. The wait is as long as the loader
takes for a batch, and uses no processor, as if a GPU computed the step; everything else is what ``train`` does:
callbacks, metrics, progress bar, validation, checkpoints.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, cast

import torch
from common import answer
from lightning.pytorch import Callback, Trainer
from loader import write_photos
from scenes import Repeated
from shape_sorter import cli, train
from shape_sorter.data.datamodule import DataModule
from shape_sorter.inference.load_model import TaskModule
from shape_sorter.training.steps import is_logging_step
from torch import Tensor

BATCH = 8  # images for each worker
MEASURED = 24  # batches of the loader alone in each turn
WORDS = (
    "tracking=none", "data=imagefolder", "data.root=photos", "data.image_size=224",
    "model.backbone=test_resnet.r160_in1k", "model.pretrained=false",
)  # fmt: skip


class Feed(Callback):
    """The stand-in for the model, and the clock: after each epoch, the loader alone has its turn."""

    def __init__(self, size: int, batches: int) -> None:
        self.size = size
        self.batches = batches
        self.wait = self.free = self.began = self.ended = 0.0  # seconds
        self.alone: Any = None  # the loader that is measured alone
        self.ours: list[float] = []  # images per second, as all rates here
        self.floor: list[float] = []
        self.between: list[float] = []  # seconds from the last step of an epoch to the start of the next one
        self.busy: list[float] = []  # milliseconds of processor time in a step, of this process alone
        self.spent = 0.0

    def data(self, datasets: Any, settings: Any, **more: Any) -> DataModule:
        """The data of a training, repeated; and those of the loader alone."""
        filled = 4 * settings.workers  # batches that workers hold in advance
        count = (filled + MEASURED) * self.size
        alone = DataModule(replace(datasets, train=Repeated(datasets.train, count)), settings, **more)
        self.alone = (filled, alone.train_dataloader())
        for _ in range(2):  # the first one starts the workers and fills the cache
            self.wait = self.size / self.loader_alone()
        return DataModule(replace(datasets, train=Repeated(datasets.train, self.batches * self.size)), settings, **more)

    def loader_alone(self) -> float:
        """Images per second of a loader whose queue is used up, and which fills none in the end."""
        filled, loader = self.alone
        began = 0.0
        for position, _ in enumerate(loader, start=1):
            if position == filled:
                began = perf_counter()
        return MEASURED * self.size / (perf_counter() - began)

    def weight(self, module: Any) -> Tensor:
        """The only weight that is trained: with a GPU, the processor would not compute the optimiser's step."""
        first, *others = module.network.parameters()
        if others[0].requires_grad:
            module.network.requires_grad_(False)
            first.requires_grad_(True)
        return cast("Tensor", first)

    def step(self, module: Any) -> Tensor:
        """In place of ``training_step``: like a GPU, the next step is queued while this one is computed.

        Where the loss is read, i.e. at logging steps and at the end of an epoch, the GPU is waited for.
        """
        logging = is_logging_step(module.trainer, module.global_step + 1)
        sleep(max(0.0, self.free - perf_counter()))
        self.free = perf_counter() + self.wait
        if logging or module.trainer.is_last_batch:
            sleep(self.wait)
        loss: Tensor = self.weight(module).square().mean()
        if logging:
            module.log("train/loss", loss, batch_size=self.size, on_step=True, on_epoch=False)
        return loss

    def on_train_epoch_start(self, *_: Any) -> None:
        """Training goes on."""
        self.began, self.spent = perf_counter(), process_time()
        if self.ended:
            self.between.append(self.began - self.ended)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """An epoch has ended but for its validation."""
        if not trainer.is_last_batch:
            return
        rate = self.batches * self.size / (perf_counter() - self.began)
        busy = 1000 * (process_time() - self.spent) / self.batches
        limit = min(self.loader_alone(), self.size / self.wait)
        if self.ended:  # the first epoch does not count
            self.ours.append(rate)
            self.floor.append(limit)
            self.busy.append(busy)
        self.ended = perf_counter()


def main(source: str, workers: str, batches: str, epochs: str) -> None:
    """Print the figures of both."""
    torch.set_num_threads(1)  # more of them would wait for each other on cores that the workers use
    write_photos(Path("photos"))
    size = BATCH * int(workers)
    feed, usual = Feed(size, int(batches)), train.step_callbacks
    train.step_callbacks = lambda settings: [feed, *usual(settings)]
    train.DataModule = feed.data
    TaskModule.training_step = lambda module, *_: feed.step(module)
    os.environ["FORCE_COLOR"] = "1"  # or there would be no progress bar
    os.environ[cli.RUN_ID] = f"feed-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        cache = ("data.cache=disk", f"data.cache_folder={folder}") if source == "cache" else ()
        shape = (f"loader.batch_size={size}", f"loader.workers={workers}", f"trainer.max_epochs={int(epochs) + 1}")
        sys.argv = ["train", *WORDS, *shape, *cache]
        cli.train()
    answer(ours=feed.ours, floor=feed.floor, wait=feed.wait, between=feed.between, busy=feed.busy)


if __name__ == "__main__":
    main(*sys.argv[1:])
