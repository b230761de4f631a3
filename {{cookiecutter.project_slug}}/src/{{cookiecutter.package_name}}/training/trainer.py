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
from rich import get_console

from ..errors import UsageError
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.processes import check_processes
# ~ endif
from ..settings.schema import Settings
from .callbacks.ema import WeightAverage
from .callbacks.epoch_loss import FiniteLoss
from .callbacks.gradients import GradientClipping
# ~ if cookiecutter.scope == "complete"
from .callbacks.prefetch import PrefetchNextEpoch
# ~ endif
from .callbacks.progress import EpochLines, ProgressBar
# ~ if cookiecutter.scope == "complete"
from .callbacks.time_left import TimeLeft
# ~ endif
from .checkpoint import AtomicCheckpoints, BestCheckpoint

SILENCED_WARNINGS = (  # warnings of Lightning that do not apply here
    ".*many workers.*",
    ".*logging interval.*",
    ".*exists and is not empty.*",  # the folder of a resumed run
    ".*Using `DistributedSampler`.*",  # repeated images are not counted, see counted_images
    ".*sync_dist=True.*",  # the metrics gather the results of all processes themselves
    ".*ended before the epoch ended.*",  # a training run that is resumed within an epoch
    ".*lr_scheduler.step.*before.*",  # 16-mixed skips steps whose gradients have overflowed
    ".*requested to overfit.*",  # debug=overfit: the order of the two batches does not matter
    ".*LeafSpec.*",  # Lightning itself calls a deprecated function
    # ~ if cookiecutter.scope == "complete"
    ".*in eval mode at the start of training.*",  # frozen batch norms
    ".*have no `val_dataloader`.*",  # speed is measured without validation
    # ~ endif
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
    chosen = settings.trainer
    terminal = get_console().is_terminal
    progress: list[Callback] = [ProgressBar() if terminal else EpochLines()]
    # ~ if cookiecutter.scope == "complete"
    progress.append(TimeLeft())
    # ~ endif
    # The other settings have the names of the arguments of the trainer.
    others = {"precision", "max_epochs", "max_steps", "profiler", "progress"}
    others |= {"patience", "save_top_k"}  # of callbacks
    # ~ if cookiecutter.scope == "complete"
    arguments = chosen.model_dump(exclude=others | {"extra"}) | (chosen.extra or {})
    # ~ else
    arguments = chosen.model_dump(exclude=others)
    # ~ endif
    try:
        return Trainer(
            **arguments,
            precision=_precision(settings),
            max_epochs=chosen.max_epochs or -1,  # null only in commands that do not train
            max_steps=chosen.max_steps or -1,
            benchmark=not chosen.deterministic,
            profiler=_profiler(settings, run),
            num_sanity_val_steps=0,
            enable_progress_bar=chosen.progress and terminal,
            enable_model_summary=False,
            # Otherwise, Lightning would add a checkpoint callback by default.
            enable_checkpointing=any(isinstance(item, ModelCheckpoint) for item in callbacks),
            logger=list(loggers),
            callbacks=[*callbacks, *(progress if chosen.progress else [])],
            default_root_dir=run.folder,
            plugins=[*plugins, AtomicCheckpoints()],
        )
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


def step_callbacks(settings: Settings) -> list[Callback]:
    """Return the callbacks of every step, e.g. for weight averaging and gradient clipping."""
    average = settings.ema
    return [
        *([WeightAverage(average.decay, average.every_n_steps)] if average.enabled else []),
        GradientClipping(settings.optimizer.clip_norm),
        FiniteLoss(),
        # ~ if cookiecutter.scope == "complete"
        PrefetchNextEpoch(),
        # ~ endif
    ]


def checkpoint_callbacks(
    settings: Settings, run: Run, *, monitor: str, mode: str
) -> list[Callback]:
    """Return callbacks that save checkpoints, and stop after ``patience``.

    The best ``save_top_k`` checkpoints have names such as ``epoch=3-step=80-<score>=0.512.ckpt``.
    The best of them is also ``best.ckpt``, and the newest checkpoint is ``last.ckpt``.
    """
    folder, score = run.best.parent, monitor.replace("/", "_") + "={" + monitor + ":.3f}"
    callbacks: list[Callback] = [
        ModelCheckpoint(
            folder,
            filename="epoch={epoch}-step={step}-" + score,
            auto_insert_metric_name=False,
            monitor=monitor,
            mode=mode,
            save_top_k=settings.trainer.save_top_k,
            enable_version_counter=False,
        ),
        BestCheckpoint(run.best),
        # ``last.ckpt``, from which training is resumed, is replaced after every epoch.
        ModelCheckpoint(
            folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    if settings.trainer.patience is not None:
        callbacks.append(EarlyStopping(monitor, mode=mode, patience=settings.trainer.patience))
    return callbacks


def _precision(settings: Settings) -> Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true"]:
    chosen = settings.trainer
    if chosen.precision != "auto":
        return chosen.precision
    if chosen.accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def _profiler(settings: Settings, run: Run) -> Profiler | None:
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, None: None}
    kind = kinds[settings.trainer.profiler]
    return kind(dirpath=run.folder, filename="profile") if kind else None
