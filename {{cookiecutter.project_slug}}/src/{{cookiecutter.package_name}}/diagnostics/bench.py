"""Measure how fast this machine trains with these settings, and what holds it back."""

from itertools import chain, repeat
from time import perf_counter
from typing import Any

from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader

from ..data.datamodule import DataModule, Datasets
from ..errors import UsageError
from ..run.files import write_json
from ..run.folder import Run
from ..task import TaskModule, build_datasets
from ..training.callbacks.performance import Performance
from ..training.trainer import build_trainer, step_callbacks
from .settings import BenchSettings

IN_MEMORY = 8  # batches that the model alone sees again and again


def run_bench(settings: BenchSettings, run: Run) -> None:
    """Time the loader alone, the model alone, and both together; write ``bench.json``.

    Raises:
        UsageError: for data that cannot be used, or several processes.
    """
    results = measure(build_datasets(settings.data), settings, run)
    write_json(run.folder / "bench.json", results)
    _show(results, settings, run)


def measure(datasets: Datasets, settings: BenchSettings, run: Run) -> dict[str, float]:
    """Images per second of training, of its loader alone and of its model alone.

    Raises:
        UsageError: if there are several processes.
    """
    seed_everything(settings.seed, workers=True, verbose=False)
    datamodule = DataModule(
        datasets, settings.loader, skip_unreadable=settings.data.skip_unreadable
    )
    loader, batches = _loader_alone(datamodule, settings)
    classes = list(datasets.classes)
    model = train_steps(settings, run, classes, batches)
    training = train_steps(settings, run, classes, datamodule)
    return {
        **training,
        "loader_images_per_second": loader,
        "model_images_per_second": model["images_per_second"],
        "share_of_limit": training["images_per_second"] / min(loader, model["images_per_second"]),
    }


def _loader_alone(datamodule: DataModule, settings: BenchSettings) -> tuple[float, list[Any]]:
    """Images per second without a model, and some batches to keep."""
    kept: list[Any] = []
    images = 0
    total = settings.warmup + settings.steps
    loader = datamodule.train_dataloader()
    began = perf_counter()
    endless = chain.from_iterable(repeat(loader))
    shown = track(range(total), "Loader alone", disable=not settings.trainer.progress)
    for seen, batch in zip(shown, endless, strict=False):
        datamodule.on_before_batch_transfer(batch, 0)  # which ends at an unreadable image
        if seen < IN_MEMORY:
            kept.append(batch)
        if seen < settings.warmup:
            began = perf_counter()
        else:
            images += len(batch.images)
    return images / (perf_counter() - began), kept


def train_steps(
    settings: BenchSettings, run: Run, classes: list[str], data: DataModule | list[Any]
) -> dict[str, float]:
    """Train for a number of steps, as ``train`` does it, without validation and checkpoints."""
    total = settings.warmup + settings.steps
    length = len(data.train_dataloader()) if isinstance(data, DataModule) else total
    chosen = settings.trainer.model_copy(
        update={
            "max_epochs": -(-total // length),
            "limit_train_batches": min(total, length),
            "limit_val_batches": 0,
            "log_every_n_steps": total + length,  # at the end
        }
    )
    performance = Performance(skip=settings.warmup)
    trainer = build_trainer(
        settings.model_copy(update={"trainer": chosen}),
        run,
        loggers=[],
        callbacks=[*step_callbacks(settings), performance],
    )
    if trainer.world_size > 1:
        raise UsageError("bench times one process: leave out trainer=ddp.")
    module = TaskModule(settings, classes, download=False)  # any weights are as fast
    if isinstance(data, DataModule):
        trainer.fit(module, datamodule=data)
    else:
        device = trainer.strategy.root_device
        batches = [move_data_to_device(batch, device) for batch in data]
        again = [batches[index % len(batches)] for index in range(total)]
        trainer.fit(module, DataLoader(again, batch_size=None, collate_fn=_as_it_is))  # type: ignore[arg-type]
    measured = performance.measured(trainer, module)
    return {name.removeprefix("perf/"): value for name, value in measured.items()}


def _as_it_is(batch: Any) -> Any:
    return batch


def _show(results: dict[str, float], settings: BenchSettings, run: Run) -> None:
    size = settings.loader.batch_size
    table = Table("", "images/s", "ms per batch")
    for name, key in (
        ("training", "images_per_second"),
        ("its loader alone", "loader_images_per_second"),
        ("its model alone", "model_images_per_second"),
    ):
        table.add_row(name, f"{results[key]:.1f}", f"{1000 * size / results[key]:.1f}")
    console = Console()
    console.print(table)
    loader, model = results["loader_images_per_second"], results["model_images_per_second"]
    held = "loader" if loader < model else "model"
    console.print(
        f"Training reaches {results['share_of_limit']:.0%} of what its {held} allows, "
        f"and waits for data {results['data_wait']:.0%} of the time.",
        soft_wrap=True,
    )
    if "memory_gb" in results:
        console.print(f"Peak memory: {results['memory_gb']:.2f} GB")
    console.print(f"  {run.folder / 'bench.json'}", soft_wrap=True, markup=False)
