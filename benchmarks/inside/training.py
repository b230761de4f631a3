"""Images per second and peak memory of a training: by the project, or by a loop written by hand.

Both have the same network, loss, data, loader, precision, optimiser, schedule and clipping; the
average of the weights is off in both unless ``ema`` is asked for, which only the project has.
"""

import os
import resource
import sys
from itertools import chain, islice, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from common import answer, settings_of
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, Trainer
from shape_sorter.data.datamodule import DataModule
from shape_sorter.diagnostics import bench
from shape_sorter.diagnostics.settings import BenchSettings
from shape_sorter.inference.load_model import TaskModule, build_datasets
from shape_sorter.run.folder import Run
from shape_sorter.training.callbacks.ema import WeightAverage
from shape_sorter.training.callbacks.resume import ExactResume
from shape_sorter.training.optimizer import build_optimizer
from torch.nn import functional
from turns import InTurns, OnAndOff, wait

BLOCK = int(os.environ.get("BENCHMARK_BLOCK", "1"))  # steps of a turn
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def loss_of(module: Any, batch: Any) -> torch.Tensor:
    """The loss of a batch, by the task's own network and criterion."""
    images = batch.images.contiguous(memory_format=torch.channels_last)
    if hasattr(module.network, "losses"):
        parts = module.network.losses(images, batch.targets)
        return torch.stack(list(parts.values())).sum()
    if hasattr(module, "losses"):
        total: torch.Tensor = module.loss(module.network(images).float(), batch.targets)
        return total
    smoothing = module.settings.model.label_smoothing
    return functional.cross_entropy(module.network(images).float(), batch.targets, label_smoothing=smoothing)


class ByHand:
    """A plain loop over batches, some steps at a time."""

    def __init__(self, settings: BenchSettings, classes: list[str], batches: Any) -> None:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
        self.module = TaskModule(settings, classes, download=False).to(DEVICE)
        self.module.train()
        halves = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
        self.half = halves.get(settings.trainer.precision)
        self.scaler = torch.amp.GradScaler(DEVICE.type, enabled=self.half == torch.float16 and DEVICE.type == "cuda")
        self.clip = settings.optimizer.clip_norm or float("inf")
        self.accumulate = settings.trainer.accumulate_grad_batches
        # Of this trainer only the number of steps and the precision are read.
        length = Trainer(
            max_epochs=-1,
            max_steps=settings.warmup + settings.steps,
            precision=settings.trainer.precision,
            logger=False,
            enable_checkpointing=False,
        )
        parts: Any = build_optimizer(self.module.network, settings, length)
        self.optimizer, self.scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
        self.parameters = list(self.module.network.parameters())
        self.batches = chain.from_iterable(repeat(batches))

    def __call__(self, steps: int) -> float:
        """Train with so many batches, a multiple of those that are accumulated: images per second."""
        images, began = 0, perf_counter()
        for index, batch in enumerate(islice(self.batches, steps), 1):
            there = move_data_to_device(batch, DEVICE)
            with torch.autocast(DEVICE.type, self.half, enabled=self.half is not None):
                loss = loss_of(self.module, there) / self.accumulate
            self.scaler.scale(loss).backward()
            images += len(batch.images)
            if index % self.accumulate:
                continue
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.scheduler.step()
            self.optimizer.zero_grad()
        wait()
        return images / (perf_counter() - began)


def loader_alone(settings: BenchSettings, batches: Any) -> float:
    """Images per second after the warm-up, and nothing done with them."""
    images, began = 0, perf_counter()
    total = settings.warmup + settings.steps
    for step, batch in zip(range(total), chain.from_iterable(repeat(batches)), strict=False):
        if step < settings.warmup:
            began = perf_counter()
        else:
            images += len(batch.images)
    return images / (perf_counter() - began)


def in_turns(settings: BenchSettings, classes: list[str], taken: Any, floor: Any) -> InTurns:
    """Train by the project, and by hand in between."""
    turns = InTurns(ByHand(settings, classes, floor), warmup=settings.warmup, block=BLOCK)
    usual = bench.step_callbacks
    bench.step_callbacks = lambda settings: [*usual(settings), turns]
    bench.train_steps("Benchmark", settings, Run(Path("runs/benchmark")), classes, taken)
    return turns


def on_and_off(
    settings: BenchSettings, classes: list[str], batches: list[Any], kind: type[Callback], *more: Callback
) -> OnAndOff:
    """Train with the callback of this kind, which the trainer has or ``more`` adds, and without it in between."""

    def switch(trainer: Any, on: bool) -> None:
        with_it.extend(one for one in trainer.callbacks if one not in with_it)  # the trainer's own
        trainer.callbacks = [one for one in with_it if on or not isinstance(one, kind)]

    clock = OnAndOff(switch, warmup=settings.warmup, block=BLOCK)
    with_it = [*bench.step_callbacks(settings), *more, clock]
    bench.step_callbacks = lambda _: list(with_it)
    bench.train_steps("Benchmark", settings, Run(Path("runs/benchmark")), classes, batches)
    return clock


def main(which: str, data: str, *overrides: str) -> None:
    """Print the figures of one of the two, or of both in turns.

    Args:
        which: ours, floor, turns for both; ema or resume for ours with and without the callback.
        data: loader, memory for batches that lie there, alone for the loader without a network;
            limit has ours on the loader, and the floor on memory.
        overrides: of the settings.
    """
    settings = settings_of("trainer.precision=32-true", *overrides)  # the loop by hand does not know auto
    torch.manual_seed(0)
    datasets = build_datasets(settings.data)
    classes = list(datasets.classes)
    datamodule = DataModule(datasets, settings.loader, skip_unreadable=False)
    batches: Any = datamodule.train_dataloader()
    size = settings.loader.batch_size
    lying: Any = []
    if data in {"memory", "limit"}:
        lying = [move_data_to_device(batch, DEVICE) for batch in islice(batches, bench.BATCHES_IN_MEMORY)]
    taken = lying if data == "memory" else datamodule
    if which in {"ema", "resume"}:
        kind: Any = WeightAverage if which == "ema" else ExactResume
        more = () if which == "ema" else (ExactResume(datamodule),)
        on, off = on_and_off(settings, classes, lying, kind, *more).turns
        return answer(ours=[1000 * one / BLOCK for one in on], floor=[1000 * one / BLOCK for one in off])
    if which == "turns":
        turns = in_turns(settings, classes, taken, lying or batches)
        most = loader_alone(settings, batches) if data == "limit" else float("inf")
        ours, floor = ([BLOCK * size / one for one in both] for both in (turns.ours, turns.floor))
        return answer(ours=ours, floor=[min(one, most) for one in floor])
    if data == "alone":
        rate = loader_alone(settings, batches)
    elif which == "floor":
        by_hand = ByHand(settings, classes, lying or batches)
        by_hand(settings.warmup)
        rate = by_hand(settings.steps)
    else:
        measured = bench.train_steps("Benchmark", settings, Run(Path("runs/benchmark")), classes, taken)
        rate = measured["images_per_second"]
    if DEVICE.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:  # of the process that trains; its workers are alike
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return answer(images_per_second=rate, memory=memory / 1e9)


if __name__ == "__main__":
    main(*sys.argv[1:])
