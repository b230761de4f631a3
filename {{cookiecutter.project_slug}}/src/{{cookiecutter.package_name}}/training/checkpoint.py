"""Write and read checkpoints, which contain all that is needed to rebuild the module."""

import io
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from ..errors import UsageError
from ..run.atomic_files import replacing
from ..run.environment import redacted
from ..run.folder import Run
from ..run.processes import is_first
from ..settings.schema import METRICS, Settings

log = logging.getLogger(__name__)

# The entries of a checkpoint from which the module is rebuilt, and training is resumed.
CONTENT = ("settings", "classes", "state_dict")
STATE = ("global_step", "epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers")


class AtomicCheckpoints(TorchCheckpointIO):
    """Write checkpoints atomically: Lightning may replace a checkpoint by an incomplete file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; if this fails, a previous checkpoint remains unchanged."""
        content = io.BytesIO()  # with a file, torch would raise a RuntimeError if the disk is full
        torch.save(checkpoint, content)
        with replacing(Path(path)) as hidden:
            hidden.write_bytes(content.getbuffer())


class BestCheckpoint(Checkpoint):
    """Keep ``best.ckpt``, a hard link to the best checkpoint of the first ``ModelCheckpoint``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Link the file if another checkpoint is the best now."""
        saved = trainer.checkpoint_callback
        if not (trainer.is_global_zero and isinstance(saved, ModelCheckpoint)):
            return
        best = Path(saved.best_model_path)
        if not best.is_file() or (self.path.is_file() and best.samefile(self.path)):
            return
        with replacing(self.path) as hidden:
            try:
                os.link(best, hidden)
            except OSError:  # the file system has no hard links
                shutil.copyfile(best, hidden)

    on_validation_end = on_train_epoch_end  # without validation in every epoch


class CheckpointContents(Callback):
    """Add the settings and the class names to each checkpoint, to rebuild the module from it."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        self.settings = settings
        self.classes = classes
        self.measured_step = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the step at which the scores in ``callback_metrics`` were measured."""
        self.measured_step = trainer.global_step

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the settings without secrets, the class names and, if they are known, the scores."""
        checkpoint["settings"] = redacted(self.settings.model_dump(mode="json", by_alias=True))
        checkpoint["classes"] = list(self.classes)
        measured = trainer.callback_metrics if trainer.global_step == self.measured_step else {}
        checkpoint["scores"] = {name: float(measured[name]) for name in METRICS if name in measured}


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


def read_checkpoint(path: Path, *, resume: bool = False) -> dict[str, Any]:
    """Return the entries of a checkpoint: those of Lightning, and those of ``CheckpointContents``.

    A file of another origin is refused, and with ``resume`` one that lacks the training's state.
    """
    try:
        content: dict[str, Any] = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many types of errors for other files
        raise UsageError(
            f"{path} cannot be read as a checkpoint: {type(error).__name__}.\n"
            "Name a *.ckpt file that this project has written."
        ) from error
    missing = [name for name in (*CONTENT, *(STATE if resume else ())) if name not in content]
    if missing:
        raise UsageError(f"{path} was not written by this project: it has no {', '.join(missing)}.")
    return content


def resumable_checkpoint(run: Run) -> tuple[Path, int, int] | None:
    """Return the checkpoint from which a run is resumed, its step, and the number of its epochs.

    It is ``last.ckpt``, or ``best.ckpt`` if the former is missing or damaged. The last epoch counts
    although it may not have ended. The result is None for a run without checkpoints.
    """
    problems = [] if run.last.is_file() else [f"There is no {run.last}."]
    for path in run.checkpoints:
        try:
            content = read_checkpoint(path, resume=True)
        except UsageError as error:
            problems.append(str(error))
            continue
        step = content["global_step"]
        if problems and is_first():
            log.warning("%s\nTraining continues from %s, step %d.", "\n".join(problems), path, step)
        return path, step, content["epoch"] + 1
    if not run.checkpoints:
        return None
    raise UsageError(
        "\n".join(problems) + f"\n{run.id} cannot be resumed. Start a new run without resume."
    )
