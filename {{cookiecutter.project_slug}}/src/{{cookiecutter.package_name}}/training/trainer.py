"""Build Lightning's trainer from the settings, and log a summary when training starts."""

import atexit
# ~ if cookiecutter.scope == "complete"
import difflib
import gc
import inspect
# ~ else
import gc
# ~ endif
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler
from rich import get_console

from ..data.reading_summary import number_of
from ..errors import UsageError
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.processes import check_processes
# ~ endif
from ..settings.schema import TASK, Settings, model_name
from ..settings.trainer import TrainerSettings
from .callbacks.each_step import FiniteLoss, GradientClipping
from .callbacks.ema import WeightAverage
# ~ if cookiecutter.scope == "complete"
from .callbacks.prefetch import PrefetchNextEpoch
# ~ endif
# ~ if cookiecutter.scope == "complete"
from .callbacks.progress import EpochLines, ProgressBar, TimeLeft
# ~ else
from .callbacks.progress import EpochLines, ProgressBar
# ~ endif
from .checkpoint import AtomicCheckpoints

log = logging.getLogger(__name__)

BATCHES = {"limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"}
ALL = {"1.0", "0", "0.0"}  # values of these settings with which all batches are used
PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
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


# ~ if cookiecutter.scope == "complete"
# Arguments of Lightning's trainer that other settings or this module set. ``fast_dev_run`` would
# leave out the checkpoint, which is tested at the end.
RESERVED = {
    *TrainerSettings.model_fields, "benchmark", "callbacks", "default_root_dir",
    "enable_checkpointing", "enable_model_summary", "enable_progress_bar", "fast_dev_run",
    "gradient_clip_algorithm", "gradient_clip_val", "logger", "num_sanity_val_steps", "plugins",
}  # fmt: skip


def check_extra(settings: TrainerSettings) -> None:
    """Refuse names in ``trainer.extra`` that the trainer lacks, or that are set elsewhere."""
    known = inspect.signature(Trainer).parameters.keys() - RESERVED
    for name in settings.extra or {}:
        if name in RESERVED:
            raise UsageError(f"trainer.extra.{name}: it is set elsewhere: train --help")
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {similar[0]}?" if similar else ""
            raise UsageError(
                f"trainer.extra.{name} is not an argument of Lightning's Trainer.{hint}"
            )


# ~ endif
def build_trainer(
    settings: Settings,
    run: Run,
    *,
    loggers: Sequence[Logger],
    callbacks: Sequence[Callback],
    plugins: Sequence[Any] = (),
) -> Trainer:
    """Build the trainer; settings that do not fit the machine, e.g. its GPUs, are refused."""
    torch.set_float32_matmul_precision("high")  # use TF32 if the GPU supports it
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    # ~ if cookiecutter.scope == "complete"
    check_processes(settings.trainer.devices, settings.trainer.num_nodes)
    if settings.trainer.sync_batchnorm and _is_cpu(settings.trainer):
        raise UsageError("trainer.sync_batchnorm=true needs GPUs: leave it out on a CPU.")
    # ~ endif
    # ``launch`` has disabled garbage collection while modules are imported. Existing objects are
    # exempt from it, but not those of earlier jobs of a multirun.
    if not gc.isenabled() and not gc.get_freeze_count():
        gc.freeze()
        atexit.register(gc.unfreeze)  # otherwise, extension modules report leaks at exit
    gc.enable()
    chosen = settings.trainer
    terminal = get_console().is_terminal
    progress: list[Callback] = [ProgressBar() if terminal else EpochLines()]
    # ~ if cookiecutter.scope == "complete"
    progress.append(TimeLeft())
    # ~ endif
    # The other settings have the names of the arguments of the trainer.
    # ~ if cookiecutter.scope == "complete"
    of_callbacks = {"progress", "patience", "save_top_k", "extra"}
    arguments = chosen.model_dump(exclude=of_callbacks) | (chosen.extra or {})
    # ~ else
    of_callbacks = {"progress", "patience", "save_top_k"}
    arguments = chosen.model_dump(exclude=of_callbacks)
    # ~ endif
    arguments |= {
        "precision": _precision(chosen),
        "max_epochs": chosen.max_epochs or -1,  # null only in commands that do not train
        "max_steps": chosen.max_steps or -1,
    }
    if chosen.profiler:
        kind = PROFILERS[chosen.profiler]
        arguments["profiler"] = kind(dirpath=run.folder, filename="profile")
    try:
        return Trainer(
            **arguments,
            benchmark=not chosen.deterministic,
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


def step_callbacks(settings: Settings) -> list[Callback]:
    """Return the callbacks of every step, e.g. for weight averaging and gradient clipping."""
    return [
        *([WeightAverage(settings.ema.decay)] if settings.ema.enabled else []),
        GradientClipping(settings.optimizer.clip_norm),
        FiniteLoss(),
        # ~ if cookiecutter.scope == "complete"
        PrefetchNextEpoch(),
        # ~ endif
    ]


def _is_cpu(chosen: TrainerSettings) -> bool:
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return chosen.accelerator == "cpu" or (chosen.accelerator == "auto" and not has_gpu)


def _precision(chosen: TrainerSettings) -> str:
    if chosen.precision == "16-mixed" and _is_cpu(chosen):
        raise UsageError(
            "trainer.precision=16-mixed needs a GPU. On a CPU: trainer.precision=32-true or "
            "bf16-mixed"
        )
    if chosen.precision != "auto":
        return chosen.precision
    if chosen.accelerator not in {"auto", "gpu", "cuda"} or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


def log_start(
    settings: Settings, run: Run, module: Any, trainer: Trainer, *, trackers: Sequence[Logger]
) -> None:
    """Log the task, the model, the device and the run; the data have lines of their own."""
    if not trainer.is_global_zero:
        return
    name = model_name(settings.model.model_dump())
    task = f"{TASK.capitalize()} of {number_of(len(module.classes), 'classes')}"
    total = sum(part.numel() for part in module.parameters())
    # ~ if cookiecutter.scope == "complete"
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    frozen = "" if trained == total else f", {trained:,} of them trained"
    log.info("%s: %s, %.1f million parameters%s.", task, name, total / 1e6, frozen)
    if frozen and not settings.model.pretrained and settings.init is None:
        log.warning(
            "model.freeze=%s keeps random weights. For trained weights: model.pretrained=true",
            settings.model.freeze,
        )
    # ~ else
    log.info("%s: %s, %.1f million parameters.", task, name, total / 1e6)
    # ~ endif
    device, processes = trainer.strategy.root_device.type, trainer.world_size
    log.info("Device: %s%s, %s.", f"{processes} x " * (processes > 1), device, trainer.precision)
    chosen = settings.trainer.model_dump(include=BATCHES)
    # 1.0 stands for all batches, but 1 for a single batch.
    limits = [f"trainer.{name}={value}" for name, value in chosen.items() if f"{value}" not in ALL]
    if limits:
        log.info("Only a part of the images is used: %s.", ", ".join(limits))
    names = ", ".join(map(_name_of, trackers))
    log.info("Run: %s; tracking: %s.", run.folder, names or "none")


def _name_of(tracker: Logger) -> str:
    """Return the name of Lightning's logger, of which a tracker may be a subclass."""
    kinds = type(tracker).__mro__
    known = next(kind for kind in kinds if kind.__module__.startswith("lightning."))
    return known.__name__.removesuffix("Logger") or kinds[0].__name__
