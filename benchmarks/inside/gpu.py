"""A network at one precision: by hand, and by the project from memory, from JPEG files and from the cache.

``gpu.py PRECISION STEPS PAIRS [OVERRIDE ...]``: rates are images per second of so many steps each, in so many pairs.
"""

import sys
import tempfile
import warnings
from dataclasses import replace
from importlib import import_module
from itertools import islice, pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import training
from common import answer, settings_of
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback
from scenes import LAYOUT, TASK, Repeated, write_scenes
from shape_sorter.data.cache import cache_images
from shape_sorter.data.datamodule import MAX_WORKERS, DataModule, usable_cpus
from shape_sorter.diagnostics import bench
from shape_sorter.inference.load_model import build_datasets
from shape_sorter.run.folder import Run
from shape_sorter.training.callbacks.each_step import FiniteLoss
from training import DEVICE, in_turns
from turns import wait

RUN = Run(Path("runs/benchmark"))


class Blocks(Callback):
    """The time at the end of every block of steps, and how often a step waits for the GPU meanwhile."""

    def __init__(self, warmup: int, steps: int) -> None:
        self.warmup, self.steps, self.seen = warmup, steps, 0
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """A step has ended, and perhaps a block."""
        self.seen += 1
        if self.seen >= self.warmup and (self.seen - self.warmup) % self.steps == 0:
            wait()
            self.ends.append(perf_counter())
            if DEVICE.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")


class Measurement:
    """The settings of a row, its data, and the rates of its parts."""

    def __init__(self, precision: str, steps: int, pairs: int, words: tuple[str, ...]) -> None:
        self.steps, self.pairs = steps, pairs
        layout = (f"data={LAYOUT}", "data.root=scenes", f"trainer.precision={precision}")
        first = settings_of(*layout, *words)
        side = max(first.data.input_size)
        write_scenes(Path("scenes"), side)
        self.settings = settings_of(*layout, "loader.workers=auto", "ema.enabled=false", *words)
        self.size = self.settings.loader.batch_size
        workers = self.settings.loader.workers
        used = min(usable_cpus(), MAX_WORKERS) if workers == "auto" else int(workers)
        self.filled = 4 * used + 4  # batches in the queue
        training.BLOCK = steps

    def loaded(self, settings: Any) -> tuple[list[str], DataModule]:
        """The classes and the data, which are repeated so that an epoch is longer than the measurement."""
        datasets = build_datasets(settings.data)
        if settings.data.cache:
            cache_images(datasets, settings)
            for index in range(len(datasets.train)):
                datasets.train[index]
        count = (self.filled + self.steps * (self.pairs + 1)) * self.size
        repeated = replace(datasets, train=Repeated(datasets.train, count))
        return list(datasets.classes), DataModule(repeated, settings.loader, skip_unreadable=False)

    def rates(self, ends: list[float]) -> list[float]:
        """Images per second between the ends of blocks."""
        return [self.steps * self.size / (later - sooner) for sooner, later in pairwise(ends)]

    def alone(self, data: DataModule) -> list[float]:
        """The loader without a network."""
        blocks = Blocks(self.filled, self.steps)
        for _ in islice(data.train_dataloader(), self.filled + self.steps * self.pairs):
            blocks.on_train_batch_end()
        return self.rates(blocks.ends)

    def trained(self, settings: Any, classes: list[str], data: DataModule) -> tuple[list[float], float]:
        """A training with its loader; and how often it waits for the GPU in a step."""
        steps = {"warmup": self.filled, "steps": self.steps * self.pairs}
        blocks, usual = Blocks(self.filled, self.steps), bench.step_callbacks
        bench.step_callbacks = lambda settings: [*usual(settings), blocks]
        with warnings.catch_warnings(record=True) as caught:
            bench.train_steps("Benchmark", settings.model_copy(update=steps), RUN, classes, data)
        bench.step_callbacks = usual
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        waits = sum("synchronizing CUDA" in str(warning.message) for warning in caught)
        return self.rates(blocks.ends), waits / steps["steps"]

    def in_memory(self, classes: list[str], data: DataModule) -> tuple[list[float], list[float]]:
        """By the project and by hand in turns, on batches that lie on the GPU."""
        few = islice(data.train_dataloader(), bench.BATCHES_IN_MEMORY)
        lying = [move_data_to_device(batch, DEVICE) for batch in few]
        steps = {"warmup": 10, "steps": self.steps * (self.pairs + 1)}
        usual = bench.step_callbacks
        turns = in_turns(self.settings.model_copy(update=steps), classes, lying, lying)
        bench.step_callbacks = usual
        ours, hand = ([self.steps * self.size / taken for taken in both] for both in (turns.ours, turns.floor))
        return ours[: self.pairs], hand[: self.pairs]

    def by_timm(self) -> list[float]:
        """The training of timm's benchmark: SGD, cross-entropy, a random batch on the GPU, no metrics."""
        timm = import_module("timm")
        settings = self.settings
        network = timm.create_model(settings.model.backbone).to(DEVICE, memory_format=torch.channels_last).train()
        run = torch.compile(network) if settings.model.compile else network
        half = settings.trainer.precision == "16-mixed"
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
        scaler = torch.amp.GradScaler(DEVICE.type, enabled=half and DEVICE.type == "cuda")
        images = torch.randn(self.size, 3, *settings.data.input_size, device=DEVICE)
        images = images.contiguous(memory_format=torch.channels_last)
        targets = torch.zeros(self.size, dtype=torch.int64, device=DEVICE)
        blocks = Blocks(10, self.steps)
        for _ in range(10 + self.steps * self.pairs):
            optimizer.zero_grad()
            with torch.autocast(DEVICE.type, torch.float16 if half else torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(run(images), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            blocks.on_train_batch_end()
        if DEVICE.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
        return self.rates(blocks.ends)


def main(precision: str, steps: str, pairs: str, *words: str) -> None:
    """Print the figures of the row."""
    usual = bench.step_callbacks
    # Random images of random objects may have no finite loss, and speed does not depend on it.
    bench.step_callbacks = lambda settings: [part for part in usual(settings) if not isinstance(part, FiniteLoss)]
    row = Measurement(precision, int(steps), int(pairs), words)
    torch.manual_seed(0)
    classes, data = row.loaded(row.settings)
    alone = row.alone(data)
    if DEVICE.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.reset_peak_memory_stats()
    files, waits = row.trained(row.settings, classes, data)
    memory = torch.cuda.max_memory_allocated() / 1e9 if DEVICE.type == "cuda" else 0.0
    with tempfile.TemporaryDirectory() as folder:
        stored = row.settings.data.model_copy(update={"cache": "disk", "cache_folder": Path(folder)})
        settings = row.settings.model_copy(update={"data": stored})
        cache, _ = row.trained(settings, *row.loaded(settings))
    ours, hand = row.in_memory(classes, data)
    timm = row.by_timm() if TASK == "classification" else []
    answer(
        hand=hand, ours=ours, alone=alone, files=files, cache=cache, timm=timm, memory=memory, waits=waits,
        batch=row.size,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
