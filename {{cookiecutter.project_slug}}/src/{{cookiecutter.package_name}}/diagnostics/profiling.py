"""Time the stages of a training image, and name the setting that would speed up the training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.images import Unreadable
from ..training.callbacks.performance import synchronise
from .image_checks import identity
from .settings import BenchSettings

MAX_IMAGES = 200  # evenly spread over the training split


def time_stages(
    datasets: Datasets, settings: BenchSettings, rates: Mapping[str, float]
) -> dict[str, float]:
    """Return the milliseconds per training image of each stage, in one process.

    The stages are ``storage`` (reading a file, perhaps from the memory of the operating system; 0
    with ``data.cache``), ``decode`` (with annotations, or reading the cache), ``augment``, ``copy``
    to the device, and ``step``, which follows from the rates that ``bench`` has measured.
    """
    train: Any = datasets.train
    spread = torch.linspace(0, len(train) - 1, min(MAX_IMAGES, len(train))).long().tolist()
    indices = [index for index in spread if not isinstance(train[index], Unreadable)]
    storage = 0.0
    if not settings.data.cache:
        storage = _milliseconds(lambda index: Path(train.paths[index]).read_bytes(), indices)
    transform, train.transform = train.transform, identity
    read = _milliseconds(train.__getitem__, indices)
    train.transform = transform
    whole = _milliseconds(train.__getitem__, indices)
    images = [train[index].image for index in indices[: settings.loader.batch_size]]
    return {
        "storage": storage,
        "decode": max(read - storage, 0.0),
        "augment": max(whole - read, 0.0),
        "copy": _copy_milliseconds(torch.stack(images), settings),
        "step": 1000 / rates["model_images_per_second"],
    }


def _milliseconds(work: Callable[[int], object], indices: list[int]) -> float:
    start = perf_counter()
    for index in indices:
        work(index)
    return 1000 * (perf_counter() - start) / max(len(indices), 1)


def _copy_milliseconds(images: torch.Tensor, settings: BenchSettings) -> float:
    if settings.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return 0.0
    device, pinned = torch.device("cuda"), images.pin_memory()
    for _ in range(2):  # the first copy also starts the device
        start = perf_counter()
        pinned.to(device)
        synchronise(device)
    return 1000 * (perf_counter() - start) / len(images)


def advice(stages: Mapping[str, float], rates: Mapping[str, float], settings: BenchSettings) -> str:
    """Return a sentence that says what limits the speed, and which setting to change."""
    wait = rates["data_wait"]
    if rates["loader_images_per_second"] < rates["model_images_per_second"] or wait > 0.1:
        return f"Training waits for data {wait:.0%} of the time: {_loader_advice(stages, settings)}"
    return f"The model takes most of the time: {_model_advice(rates, settings)}"


def _loader_advice(stages: Mapping[str, float], settings: BenchSettings) -> str:
    cpus, workers = usable_cpus(), settings.loader.workers
    if (min(cpus, MAX_WORKERS) if workers == "auto" else workers) < cpus:
        return f"loader.workers={cpus} uses all CPUs."
    slowest = max(("storage", "decode", "augment"), key=lambda name: stages[name])
    if slowest == "augment":
        return "augment is the slowest stage: lower data.image_size, or use less of data.augment."
    if settings.data.cache:
        return "reading data.cache is the slowest stage: move data.cache_folder to a faster disk."
    return f"{slowest} is the slowest stage; data.cache=disk does it once for this and later runs."


def _model_advice(rates: Mapping[str, float], settings: BenchSettings) -> str:
    if not torch.cuda.is_available():
        return "choose a smaller model.backbone or data.image_size, or a machine with a GPU."
    if settings.trainer.accelerator == "cpu":
        return "trainer.accelerator=gpu uses the GPU of this machine."
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if bf16 and settings.trainer.precision == "32-true":
        return "trainer.precision=bf16-mixed is faster on this GPU."
    if rates["memory_gb"] < torch.cuda.get_device_properties(0).total_memory / 2e9:
        size = settings.loader.batch_size
        return f"loader.batch_size={2 * size} fits into the memory of the GPU, and may be faster."
    if not settings.model.compile:
        return "model.compile=true may make it faster."
    return "choose a smaller model.backbone or data.image_size, or more GPUs (trainer=ddp)."
