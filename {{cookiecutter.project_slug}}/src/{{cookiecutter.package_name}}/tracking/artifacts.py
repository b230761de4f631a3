# ~ if cookiecutter.scope == "complete"
"""Log checkpoints and other files of a run as versioned W&B artifacts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..training.checkpoint import read_checkpoint
from .logger import RunLogger


class ModelArtifacts(Callback):
    """Log the checkpoints of a training run as versions of an artifact."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.logged: set[tuple[Path, int]] = set()  # checkpoints and the times of their files
        self.validated = False  # since the last training step

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look for checkpoints before the next step: Lightning saves them after this hook."""
        self.validated = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the best checkpoints that a validation has saved, with ``log_model=all``."""
        if self.validated and self.logger.tracking.log_model == "all":
            self._log_best_checkpoints(trainer)
        self.validated = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the checkpoints."""
        self._log_checkpoints(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the checkpoints of a training run that fails."""
        self._log_checkpoints(trainer)

    def _log_checkpoints(self, trainer: Trainer) -> None:
        """Log the checkpoints of a training run that has ended."""
        if self.logger.tracking.log_model == "best":
            self._log(self.logger.run.best, ["best"])
        if self.logger.tracking.log_model == "all":
            self._log_best_checkpoints(trainer)
            self._log(self.logger.run.last, ["last"])

    def _log_best_checkpoints(self, trainer: Trainer) -> None:
        """Log the checkpoints that ``trainer.save_top_k`` keeps; the best has the alias best."""
        saved = trainer.checkpoint_callback
        best = saved.best_model_path if isinstance(saved, ModelCheckpoint) else ""
        for path in sorted(self.logger.run.best.parent.glob("epoch=*.ckpt")):
            self._log(path, ["best"] if path.name == Path(best).name else [])

    def _log(self, path: Path, aliases: list[str]) -> None:
        """Log a checkpoint as a version of ``model-<run id>``, unless it is logged already."""
        logger = self.logger
        if not path.is_file() or (path, path.stat().st_mtime_ns) in self.logged:
            return
        with logger.guarded("logging the model"):
            checkpoint = read_checkpoint(path)
            metadata = logger.model_metadata | {"epoch": checkpoint["epoch"]}
            metadata |= checkpoint.get("scores", {})
            name = f"model-{logger.run.id}"
            files = [path, *([logger.run.split] if logger.run.split.is_file() else [])]
            log_files(logger, "model", name, files, aliases, metadata)
            self.logged.add((path, path.stat().st_mtime_ns))


def log_files(
    logger: RunLogger,
    kind: str,
    name: str,
    files: Sequence[Path],
    aliases: list[str],
    metadata: dict[str, Any],
) -> None:
    """Log files as a version of the W&B artifact ``name`` of the type ``kind``."""
    artifact = logger.wandb.Artifact(name, kind, metadata=metadata)
    for path in files:
        artifact.add_file(str(path), name=path.name)
    # The connection may break, so the end of the run checks that the server has these artifacts.
    paths = [os.path.relpath(path, logger.run.folder) for path in files]
    action: dict[str, Any] = {"action": "log", "kind": kind, "artifact": name, "aliases": aliases}
    action |= {"facts": metadata, "files": paths, "digest": artifact.digest}
    logger.artifacts.append(action)
    logger.experiment.log_artifact(artifact, aliases=aliases or None)
# ~ else
"""Log the best checkpoint of a run as a versioned W&B artifact."""

from ..training.checkpoint import read_checkpoint
from .logger import RunLogger


def log_best_model(logger: RunLogger) -> None:
    """Log the best checkpoint, with the split of the data, as the artifact ``model-<run id>``."""
    run = logger.run
    if logger.tracking.log_model != "best" or not run.best.is_file():
        return
    with logger.guarded("logging the model"):
        checkpoint = read_checkpoint(run.best)
        metadata = logger.model_metadata | {"epoch": checkpoint["epoch"]}
        metadata |= checkpoint.get("scores", {})
        artifact = logger.wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
        for path in (run.best, run.split):
            if path.is_file():
                artifact.add_file(str(path), name=path.name)
        logger.experiment.log_artifact(artifact, aliases=["best"])
# ~ endif
