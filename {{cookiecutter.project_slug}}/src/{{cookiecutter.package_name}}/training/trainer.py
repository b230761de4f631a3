"""Build Lightning's trainer from the settings."""

import atexit
import gc
import logging
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler

from ..errors import UsageError
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.processes import check_processes
# ~ endif
from ..settings.tree import Settings
from .callbacks.ema import WeightAverage
from .callbacks.progress import ProgressBar
from .callbacks.stability import FiniteLoss, Gradients
from .checkpoint import AtomicCheckpoints

SILENCED_WARNINGS = (  # warnings of Lightning that do not apply here
    ".*many workers.*",
    ".*logging interval.*",
    ".*exists and is not empty.*",  # the folder of a resumed run
    ".*Using `DistributedSampler`.*",  # repeated images are not counted, see counted_images
    ".*sync_dist=True.*",  # the metrics gather the results of all processes themselves
    ".*ended before the epoch ended.*",  # a training that is resumed within an epoch
    ".*LeafSpec.*",  # Lightning itself calls a deprecated function
    ".*have no `val_dataloader`.*",  # speed is measured without validation
)


def build_trainer(
    settings: Settings,
    run: Run,
    *,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    plugins: Sequence[Any] = (),
) -> Trainer:
    """Build the trainer with the given loggers, callbacks and plugins.

    Raises:
        UsageError: if the settings do not fit the machine, e.g. its number of GPUs.
    """
    torch.set_float32_matmul_precision("high")  # use TF32 if the GPU supports it
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    # ~ if cookiecutter.scope == "complete"
    check_processes(settings.trainer.devices, settings.trainer.num_nodes)
    # ~ endif
    _enable_garbage_collection()
    try:
        return _trainer(settings, run, loggers, callbacks, plugins)
    # There is no GPU, or trainer.devices or trainer.strategy is no value that Lightning knows.
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UsageError(f"The trainer cannot be built: {error}") from error


def _enable_garbage_collection() -> None:
    """Enable garbage collection, which ``launch`` has disabled, and freeze existing objects.

    Only the first job of a multirun freezes objects, so that those of earlier jobs are collected.
    """
    if not gc.isenabled() and not gc.get_freeze_count():
        gc.freeze()
        atexit.register(gc.unfreeze)  # otherwise, extension modules report leaks at exit
    gc.enable()


def _trainer(
    settings: Settings,
    run: Run,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    plugins: Sequence[Any],
) -> Trainer:
    chosen = settings.trainer
    return Trainer(
        accelerator=chosen.accelerator,
        devices=chosen.devices,
        # ~ if cookiecutter.scope == "complete"
        num_nodes=chosen.num_nodes,
        # ~ endif
        strategy=chosen.strategy,
        precision=_precision(settings),
        max_epochs=chosen.max_epochs,
        limit_train_batches=chosen.limit_train_batches,
        limit_val_batches=chosen.limit_val_batches,
        limit_test_batches=chosen.limit_test_batches,
        overfit_batches=chosen.overfit_batches,
        log_every_n_steps=chosen.log_every_n_steps,
        deterministic=chosen.deterministic,
        benchmark=not chosen.deterministic,
        profiler=_profiler(settings, run),
        num_sanity_val_steps=0,
        enable_progress_bar=chosen.progress,
        enable_model_summary=False,
        # Otherwise, Lightning would add a checkpoint callback by default.
        enable_checkpointing=any(isinstance(item, ModelCheckpoint) for item in callbacks),
        logger=list(loggers),
        callbacks=[*callbacks, *([ProgressBar()] if chosen.progress else [])],
        default_root_dir=run.folder,
        plugins=[*plugins, AtomicCheckpoints()],
    )


def step_callbacks(settings: Settings) -> list[Callback]:
    """Return the callbacks for weight averaging, gradient clipping and a finite loss."""
    average = settings.ema
    return [
        *([WeightAverage(average.decay, average.every_n_steps)] if average.enabled else []),
        Gradients(settings.optimizer.clip_norm),
        FiniteLoss(),
    ]


def checkpoint_callbacks(
    settings: Settings, run: Run, *, monitor: str, mode: str
) -> list[Callback]:
    """Return callbacks that save ``best.ckpt`` and ``last.ckpt``, and stop after ``patience``."""
    folder = run.best.parent
    callbacks: list[Callback] = [
        ModelCheckpoint(
            folder, filename="best", monitor=monitor, mode=mode, enable_version_counter=False
        ),
        # ``last.ckpt``, from which training is resumed, is replaced after every epoch.
        ModelCheckpoint(
            folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    if settings.trainer.patience is not None:
        callbacks.append(EarlyStopping(monitor, mode=mode, patience=settings.trainer.patience))
    return callbacks


def _precision(settings: Settings) -> Literal["32-true", "bf16-mixed", "bf16-true"]:
    chosen = settings.trainer
    if chosen.precision != "auto":
        return chosen.precision
    on_gpu = chosen.accelerator in {"auto", "gpu", "cuda"} and torch.cuda.is_available()
    return (
        "bf16-mixed"
        if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
        else "32-true"
    )


def _profiler(settings: Settings, run: Run) -> Profiler | None:
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, None: None}
    kind = kinds[settings.trainer.profiler]
    return kind(dirpath=run.folder, filename="profile") if kind else None
