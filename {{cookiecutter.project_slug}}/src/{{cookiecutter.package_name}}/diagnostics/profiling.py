"""Time the stages of a training image, and name the setting that would speed up the training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Self

import torch

from ..data.datamodule import MAX_WORKERS, Datasets, usable_cpus
from ..data.images import Unreadable
from ..training.callbacks.performance import synchronise
from .image_checks import identity
from .settings import BenchSettings

MAX_IMAGES = 200  # evenly spread over the training split


class Machine(NamedTuple):
    """The properties of a machine that the advice depends on."""

    cpus: int  # those that this process may use
    gpu_memory_gb: float = 0.0  # 0 without a GPU
    bf16: bool = False  # whether the GPU computes in bfloat16

    @classmethod
    def here(cls) -> Self:
        """Return the properties of this machine and of its first GPU."""
        if not torch.cuda.is_available():
            return cls(usable_cpus())
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(usable_cpus(), memory, bf16)


def time_stages(
    datasets: Datasets, settings: BenchSettings, rates: Mapping[str, float]
) -> dict[str, float]:
    """Return the milliseconds per training image of each stage, in one process.

    ``rates`` is the result of ``bench.measure_rates``. Up to ``MAX_IMAGES`` images are read.

    Returns:
        ``storage`` (reading a file, perhaps from the memory of the operating system; 0 with
        ``data.cache``), ``decode`` (with annotations, or reading the cache), ``augment``, ``copy``
        to the device, and ``step``.
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


def advice(
    stages: Mapping[str, float],
    rates: Mapping[str, float],
    settings: BenchSettings,
    machine: Machine,
) -> str:
    """Return a sentence that says what limits the speed, and which setting to change.

    ``stages`` and ``rates`` are the results of ``time_stages`` and ``bench.measure_rates``.
    """
    wait = rates["data_wait"]
    if rates["loader_images_per_second"] < rates["model_images_per_second"] or wait > 0.1:
        hint = _loader_advice(stages, settings, machine)
        return f"Training waits for data {wait:.0%} of the time: {hint}"
    return f"The model takes most of the time: {_model_advice(rates, settings, machine)}"


def _loader_advice(stages: Mapping[str, float], settings: BenchSettings, machine: Machine) -> str:
    workers = settings.loader.workers
    used = min(machine.cpus, MAX_WORKERS) if workers == "auto" else workers
    if used < machine.cpus:
        return f"loader.workers={machine.cpus} uses all CPUs."
    slowest = max(("storage", "decode", "augment"), key=lambda name: stages[name])
    if slowest == "augment":
        return "augment is the slowest stage: lower data.image_size, or use less of data.augment."
    if settings.data.cache:
        return "reading data.cache is the slowest stage: move data.cache_folder to a faster disk."
    return f"{slowest} is the slowest stage; data.cache=disk does it once for this and later runs."


def _model_advice(rates: Mapping[str, float], settings: BenchSettings, machine: Machine) -> str:
    if not machine.gpu_memory_gb:
        return "choose a smaller model.backbone or data.image_size, or a machine with a GPU."
    if settings.trainer.accelerator == "cpu":
        return "trainer.accelerator=gpu uses the GPU of this machine."
    if machine.bf16 and settings.trainer.precision == "32-true":
        return "trainer.precision=bf16-mixed is faster on this GPU."
    if rates["memory_gb"] < machine.gpu_memory_gb / 2:
        size = settings.loader.batch_size
        return f"loader.batch_size={2 * size} fits into the memory of the GPU, and may be faster."
    if not settings.model.compile:
        return "model.compile=true may make it faster."
    return "choose a smaller model.backbone or data.image_size, or more GPUs (trainer=ddp)."
