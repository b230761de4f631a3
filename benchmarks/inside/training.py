"""Images per second and peak memory of a training: by the project, or by a loop written by hand.

Both have the same network, loss, data, loader, precision, optimiser, schedule and clipping; the
average of the weights is off in both unless ``ema`` is asked for, which only the project has.
"""

import resource
import sys
from itertools import chain, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from common import answer, settings_of
from lightning.fabric.utilities import move_data_to_device
from shape_sorter import bench
from shape_sorter.data.datamodule import DataModule
from shape_sorter.optimizer import build_optimizer
from shape_sorter.run import Run
from shape_sorter.settings import BenchSettings
from shape_sorter.task import TaskModule, build_datasets
from torch.nn import functional

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


def by_hand(settings: BenchSettings, classes: list[str], batches: Any) -> float:
    """A plain loop: images per second after the warm-up."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    module = TaskModule(settings, classes, download=False).to(DEVICE)
    half = settings.trainer.precision == "bf16-mixed"
    total = settings.warmup + settings.steps
    parts: Any = build_optimizer(module.network, settings, total)
    optimizer, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    parameters = list(module.network.parameters())
    images, began = 0, perf_counter()
    module.train()
    for step, batch in zip(range(total), chain.from_iterable(repeat(batches)), strict=False):
        there = move_data_to_device(batch, DEVICE)
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=half):
            loss = loss_of(module, there)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.optimizer.clip_norm or float("inf"))
        optimizer.step()
        scheduler.step()
        if step < settings.warmup:
            if step == settings.warmup - 1:
                wait()
            began = perf_counter()
        else:
            images += len(batch.images)
    wait()
    return images / (perf_counter() - began)


def wait() -> None:
    """Until a GPU has done what it was told."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


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


def main(which: str, data: str, *overrides: str) -> None:
    """Print the figures of one of the two.

    Args:
        which: ours or floor.
        data: loader, memory for batches that lie there, or alone for the loader without a network.
        overrides: of the settings.
    """
    settings = settings_of(*overrides)
    torch.manual_seed(0)
    datasets = build_datasets(settings.data)
    classes = list(datasets.classes)
    datamodule = DataModule(datasets, settings.loader, skip_unreadable=False)
    batches: Any = datamodule.train_dataloader()
    if data == "memory":
        batches = [batch for _, batch in zip(range(bench.IN_MEMORY), batches, strict=False)]
        batches = [move_data_to_device(batch, DEVICE) for batch in batches]
    if data == "alone":
        rate = loader_alone(settings, batches)
    elif which == "floor":
        rate = by_hand(settings, classes, batches)
    else:
        run = Run(Path("runs/benchmark"))
        taken = batches if data == "memory" else datamodule
        rate = bench.train_steps(settings, run, classes, taken)["images_per_second"]
    if DEVICE.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    else:  # of the process that trains; its workers are alike
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer(images_per_second=rate, memory=memory / 1e9)


if __name__ == "__main__":
    main(*sys.argv[1:])
