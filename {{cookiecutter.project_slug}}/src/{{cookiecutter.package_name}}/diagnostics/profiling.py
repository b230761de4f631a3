"""Where the time of an image goes, and what to change."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Self

import torch

from ..data.datamodule import Datasets, usable_workers
from ..data.images import Unreadable
from ..training.callbacks.performance import synchronise
from .data_checks import untouched
from .settings import BenchSettings

MOST_IMAGES = 200  # spread over the training split


class Machine(NamedTuple):
    """What the advice depends on."""

    processors: int
    gpu: bool
    bf16: bool
    memory_gb: float  # of the GPU

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        if not torch.cuda.is_available():
            return cls(usable_workers(), gpu=False, bf16=False, memory_gb=0.0)
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return cls(usable_workers(), gpu=True, bf16=bf16, memory_gb=memory)


def time_stages(
    datasets: Datasets, settings: BenchSettings, rates: Mapping[str, float]
) -> dict[str, float]:
    """Milliseconds for one training image in one process, by stage.

    Args:
        datasets: of which training images are read.
        settings: what the device is and how large batches are.
        rates: what ``bench.measure`` found.

    Returns:
        Storage (the bytes, perhaps from the system's cache; none with ``data.cache``), decode
        (with annotations), augment, copy to the device, and step.
    """
    train: Any = datasets.train
    count = min(MOST_IMAGES, len(train))
    chosen = torch.linspace(0, len(train) - 1, count).long().tolist()
    chosen = [index for index in chosen if not isinstance(train[index], Unreadable)]
    transform = train.transform
    stored = [] if settings.data.cache else chosen
    storage = _each(lambda index: Path(str(train.paths[index])).read_bytes(), stored)
    train.transform = untouched
    read = _each(train.__getitem__, chosen)
    train.transform = transform
    changed = _each(train.__getitem__, chosen)
    return {
        "storage": storage,
        "decode": max(read - storage, 0.0),
        "augment": max(changed - read, 0.0),
        "copy": _copied([train[index] for index in chosen[: settings.loader.batch_size]], settings),
        "step": 1000 / rates["model_images_per_second"],
    }


def _each(work: Callable[[int], object], indices: list[int]) -> float:
    began = perf_counter()
    for index in indices:
        work(index)
    return 1000 * (perf_counter() - began) / max(len(indices), 1)


def _copied(samples: list[Any], settings: BenchSettings) -> float:
    images = torch.stack([sample.image for sample in samples])
    if settings.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return 0.0  # it is there already
    device, pinned = torch.device("cuda"), images.pin_memory()
    pinned.to(device)
    synchronise(device)
    began = perf_counter()
    pinned.to(device)
    synchronise(device)
    return 1000 * (perf_counter() - began) / len(images)


def advice(
    stages: Mapping[str, float],
    rates: Mapping[str, float],
    settings: BenchSettings,
    machine: Machine,
) -> str:
    """One sentence: what holds training back, and which setting to change.

    Args:
        stages: what ``time_stages`` found.
        rates: what ``bench.measure`` found.
        settings: of the training.
        machine: where it runs.
    """
    loader, model = rates["loader_images_per_second"], rates["model_images_per_second"]
    if loader < model or rates["data_wait"] > 0.1:
        wait = f"Training waits for data {rates['data_wait']:.0%} of the time"
        return f"{wait}: {_for_loader(stages, settings, machine)}"
    return f"The model is what takes the time: {_for_model(rates, settings, machine)}"


def _for_loader(stages: Mapping[str, float], settings: BenchSettings, machine: Machine) -> str:
    workers = settings.loader.workers
    if workers != "auto" and workers < machine.processors:
        return f"loader.workers={machine.processors} uses all processors."
    slowest = max(("storage", "decode", "augment"), key=lambda name: stages[name])
    if slowest == "augment":
        return (
            "augmenting is slowest, so leave out a part of data.augment, or lower "
            f"data.image_size ({settings.data.image_size} now)."
        )
    if settings.data.cache:
        return "reading data.cache is slowest, so put data.cache_folder on a faster disk."
    doing = {"storage": "reading files", "decode": "decoding"}[slowest]
    return f"{doing} is slowest, which data.cache=disk does once for this and later runs."


def _for_model(rates: Mapping[str, float], settings: BenchSettings, machine: Machine) -> str:
    if not machine.gpu:
        return "take a smaller model.backbone or data.image_size, or a machine with a GPU."
    if settings.trainer.accelerator == "cpu":
        return "trainer.accelerator=gpu uses the GPU of this machine."
    if machine.bf16 and settings.trainer.precision == "32-true":
        return "trainer.precision=bf16-mixed is faster on this GPU."
    if rates["memory_gb"] < machine.memory_gb / 2:
        size = settings.loader.batch_size
        return f"loader.batch_size={2 * size} fits into the GPU's memory; {size} may leave it idle."
    if not settings.model.compile:
        return "model.compile=true may make it faster."
    return "take a smaller model.backbone or data.image_size, or more GPUs (trainer=ddp)."
