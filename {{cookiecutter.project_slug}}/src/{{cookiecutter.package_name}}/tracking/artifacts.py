# ~ if cookiecutter.scope == "complete"
"""Log checkpoints and other files of a run as versioned W&B artifacts."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from ..training.checkpoint import read_checkpoint, scores
from .logger import RunLogger


class ModelArtifacts(Callback):
    """Log the checkpoints of a training run as versions of an artifact, and describe its model."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.versions: dict[tuple[Path, int], Any] = {}  # by file and its time: the artifact

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the size of the model."""
        with self.logger.guarded("describing the model"):
            size = ModelSummary(pl_module)
            numbers = {"parameters": size.total_parameters, "trainable": size.trainable_parameters}
            described = numbers | {"megabytes": round(size.model_size, 3)}
            self.logger.experiment.config.update({"model_size": described})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best checkpoints that the previous epoch has saved, with ``log_model=all``."""
        if self.logger.tracking.log_model == "all":
            self._log_best_checkpoints(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the checkpoints; delete old versions if the settings say so."""
        self._log_checkpoints(trainer)
        if self.logger.tracking.prune_models and not self.logger.offline:
            with self.logger.guarded("deleting old models"):
                self._prune()

    def _prune(self) -> None:
        """Delete the versions of this run's model that have no alias."""
        for version in self.versions.values():  # aliases move when the upload has ended
            version.wait(timeout=self.logger.tracking.finish_timeout)
        run = self.logger.experiment
        name = f"{run.entity}/{run.project}/model-{self.logger.run.id}"
        for version in self.logger.wandb.Api().artifacts("model", name):
            if not version.aliases:
                version.delete()

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
        if not path.is_file() or (path, path.stat().st_mtime_ns) in self.versions:
            return
        with logger.guarded("logging the model"):
            checkpoint = read_checkpoint(path)
            metadata = logger.model_metadata | {"epoch": checkpoint["epoch"]} | scores(checkpoint)
            name = f"model-{logger.run.id}"
            files = [path, *([logger.run.split] if logger.run.split.is_file() else [])]
            version = log_files(logger, "model", name, files, aliases, metadata)
            self.versions[path, path.stat().st_mtime_ns] = version


def log_files(
    logger: RunLogger,
    kind: str,
    name: str,
    files: Sequence[Path],
    aliases: list[str],
    metadata: dict[str, Any],
) -> Any:
    """Log files as a version of the W&B artifact ``name`` of the type ``kind``.

    Returns:
        The artifact, whose upload may not have ended yet.
    """
    artifact = logger.wandb.Artifact(name, kind, metadata=metadata)
    for path in files:
        artifact.add_file(str(path), name=path.name)
    # The connection may break, so the end of the run checks that the server has these artifacts.
    paths = [os.path.relpath(path, logger.run.folder) for path in files]
    action: dict[str, Any] = {"action": "log", "kind": kind, "artifact": name, "aliases": aliases}
    action |= {"facts": metadata, "files": paths, "digest": artifact.digest}
    logger.artifacts.append(action)
    return logger.experiment.log_artifact(artifact, aliases=aliases or None)
# ~ else
"""Log the best checkpoint of a run as a versioned W&B artifact."""

from lightning.pytorch import Callback, LightningModule, Trainer

from ..training.checkpoint import read_checkpoint, scores
from .logger import RunLogger


class ModelArtifacts(Callback):
    """Log the best checkpoint as an artifact when the training ends or fails."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.logged = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best checkpoint."""
        self._log()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the best checkpoint of a training run that fails."""
        self._log()

    def _log(self) -> None:
        """Log the checkpoint as a version of ``model-<run id>``, unless it is logged already."""
        logger, run = self.logger, self.logger.run
        if logger.tracking.log_model == "none" or self.logged or not run.best.is_file():
            return
        with logger.guarded("logging the model"):
            checkpoint = read_checkpoint(run.best)
            metadata = logger.model_metadata | {"epoch": checkpoint["epoch"]} | scores(checkpoint)
            artifact = logger.wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
            for path in (run.best, run.split):
                if path.is_file():
                    artifact.add_file(str(path), name=path.name)
            logger.experiment.log_artifact(artifact, aliases=["best"])
            self.logged = True
# ~ endif
