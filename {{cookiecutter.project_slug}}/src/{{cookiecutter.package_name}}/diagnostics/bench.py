"""The command ``bench``: measure the speed of training, and name the setting that limits it."""

import math
from collections.abc import Callable, Mapping
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import LambdaCallback
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import build_datasets
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.cache import cache_images
from ..data.datamodule import MAX_WORKERS, DataModule, Datasets, usable_cpus
from ..data.images import Unreadable
from ..data.resize import with_image_size
from ..data.value_range import with_value_range
# ~ if cookiecutter.task == "detection"
from ..detection.dataset import build_datasets
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..errors import UsageError
from ..run.atomic_files import write_json
from ..run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.dataset import build_datasets
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from ..training.callbacks.performance import Performance, synchronise
from ..training.trainer import build_trainer, step_callbacks
from .image_checks import identity
from .settings import BenchSettings

BATCHES_IN_MEMORY = 8  # repeated to time the model alone
MAX_IMAGES = 200  # of the training split, evenly spread, to time the stages of an image


def run_bench(settings: BenchSettings, run: Run) -> None:
    """Measure the rates, print them as a table and write ``bench.json``."""
    datasets = build_datasets(settings.data)
    settings = with_image_size(settings, datasets)
    settings = with_value_range(settings, datasets)
    measured = measure(datasets, settings, run)
    rates = measured["rates"]
    write_json(run.folder / "bench.json", rates)
    table = Table("", "images/s", "ms per batch")
    for name, key in (
        ("training", "images_per_second"),
        ("loader alone", "loader_images_per_second"),
        ("model alone", "model_images_per_second"),
    ):
        milliseconds = 1000 * settings.loader.batch_size / rates[key]
        table.add_row(name, f"{rates[key]:.1f}", f"{milliseconds:.1f}")
    console = Console(soft_wrap=True)
    console.print(table)
    slower = min("loader", "model", key=lambda part: rates[f"{part}_images_per_second"])
    console.print(f"Training reaches {rates['share_of_limit']:.0%} of what its {slower} allows.")
    console.print(measured["advice"])
    if "memory_gb" in rates:
        console.print(f"Peak memory: {rates['memory_gb']:.2f} GB")
    console.print(f"  {run.folder / 'bench.json'}", markup=False)


def measure(datasets: Datasets, settings: BenchSettings, run: Run) -> dict[str, Any]:
    """Time the loader alone, the model alone, and a training run with both.

    Returns:
        The ``milliseconds`` of each stage of an image; ``advice``, a sentence; and ``rates``: the
        metrics of ``Performance`` for the training, without ``perf/`` in their names, the images
        per second of the loader and of the model, and ``share_of_limit``, the speed of the training
        divided by that of the slower of these two.
    """
    seed_everything(settings.seed, workers=True, verbose=False)
    datamodule = DataModule(
        datasets, settings.loader, skip_unreadable=settings.data.skip_unreadable
    )
    if settings.data.cache:
        cache_images(datasets, settings)
        loader = datamodule.loader(datasets.train)
        for _ in track(loader, "Filling the cache", disable=not settings.trainer.progress):
            pass
    loader_rate, batches = _time_loader(datamodule, settings)
    classes = list(datasets.classes)
    model_rate = train_steps("Model alone", settings, run, classes, batches)["images_per_second"]
    training = train_steps("Training", settings, run, classes, datamodule)
    rates = {
        **training,
        "loader_images_per_second": loader_rate,
        "model_images_per_second": model_rate,
        "share_of_limit": training["images_per_second"] / min(loader_rate, model_rate),
    }
    stages = time_stages(datasets, settings, rates)
    return {"milliseconds": stages, "rates": rates, "advice": advice(stages, rates, settings)}


def _time_loader(datamodule: DataModule, settings: BenchSettings) -> tuple[float, list[Any]]:
    """Return the images per second of the training loader, and its first batches."""
    steps = range(settings.warmup + settings.steps)
    epochs = chain.from_iterable(repeat(datamodule.train_dataloader()))
    first: list[Any] = []
    images, start = 0, 0.0
    for step in track(steps, "Loader alone", disable=not settings.trainer.progress):
        batch = datamodule.on_before_batch_transfer(next(epochs), 0)
        if step < BATCHES_IN_MEMORY:
            first.append(batch)
        if step < settings.warmup:
            start = perf_counter()
        else:
            images += len(batch.images)
    return images / (perf_counter() - start), first


def train_steps(
    name: str, settings: BenchSettings, run: Run, classes: list[str], data: DataModule | list[Any]
) -> dict[str, float]:
    """Train for ``warmup + steps`` batches, as ``train`` does but without validation.

    Batches in a list are moved to the device once and repeated. ``name`` labels the progress bar.
    The metrics of ``Performance`` after the warm-up are returned, without ``perf/``.
    """
    total = settings.warmup + settings.steps
    epoch = len(data.train_dataloader()) if isinstance(data, DataModule) else total
    limits = {
        "max_epochs": math.ceil(total / epoch),
        "max_steps": math.ceil(total / settings.trainer.accumulate_grad_batches),
        "max_time": None,
        "val_check_interval": 1.0,
        "limit_train_batches": min(total, epoch),
        "limit_val_batches": 0,
        "log_every_n_steps": total + epoch,  # only at the end
        "progress": False,
    }
    limited = settings.model_copy(update={"trainer": settings.trainer.model_copy(update=limits)})
    performance = Performance(skip=settings.warmup)
    progress = Progress(disable=not settings.trainer.progress)
    bar = progress.add_task(name, total=total)
    advance = LambdaCallback(on_train_batch_end=lambda *_: progress.advance(bar))
    callbacks = [*step_callbacks(settings), performance, advance]
    trainer = build_trainer(limited, run, loggers=[], callbacks=callbacks)
    if trainer.world_size > 1:
        raise UsageError("bench times one process: trainer.devices=1, without trainer=ddp.")
    module = TaskModule(settings, classes, download=False)  # values do not change speed
    with progress:
        if isinstance(data, DataModule):
            trainer.fit(module, datamodule=data)
        else:
            device = trainer.strategy.root_device
            batches = [move_data_to_device(batch, device) for batch in data]
            trainer.fit(module, islice(cycle(batches), total))
    measured = performance.measured(trainer, module)
    return {name.removeprefix("perf/"): value for name, value in measured.items()}


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
