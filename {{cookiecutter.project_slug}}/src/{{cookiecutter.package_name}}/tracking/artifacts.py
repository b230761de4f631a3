"""Log checkpoints and other files of a run as versioned W&B artifacts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..training.checkpoint import read_checkpoint
from .logger import RunLogger


class ModelArtifacts(Callback):
    """Log the checkpoints of a training run as versions of the artifact ``model-<run id>``."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.logged: set[Path] = set()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Log the best checkpoints; Lightning has saved them after the hooks of a validation."""
        if self.logger.tracking.log_model == "all":
            self._log_best_checkpoints(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the checkpoints of a training run that has ended."""
        if self.logger.tracking.log_model == "best":
            self._log(self.logger.run.best, ["best"])
        if self.logger.tracking.log_model == "all":
            self._log_best_checkpoints(trainer)
            self._log(self.logger.run.last, ["last"])

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the checkpoints of a training run that fails."""
        self.on_fit_end(trainer, pl_module)

    def _log_best_checkpoints(self, trainer: Trainer) -> None:
        """Log the checkpoints that ``trainer.save_top_k`` keeps; the best has the alias best."""
        saved = trainer.checkpoint_callback
        if isinstance(saved, ModelCheckpoint):
            for path in saved.best_k_models:
                # Before a resume, the folder of the run may have been elsewhere.
                kept = self.logger.run.best.parent / Path(path).name
                self._log(kept, ["best"] if path == saved.best_model_path else [])

    def _log(self, path: Path, aliases: list[str]) -> None:
        def log(logger: RunLogger) -> None:
            if path.is_file():  # a replaced one cannot be logged again
                checkpoint, config = read_checkpoint(path), logger.experiment.config
                metadata = {"epoch": checkpoint["epoch"], "data": config.get("data_fingerprint")}
                metadata |= checkpoint.get("scores", {})
                files = [path, *([logger.run.split] if logger.run.split.is_file() else [])]
                log_files(logger, "model", f"model-{logger.run.id}", files, aliases, metadata)

        if path not in self.logged and path.is_file():
            self.logged.add(path)
            self.logger.log_lasting("logging the model", log)


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
    logger.digests.add(artifact.digest)
    logger.experiment.log_artifact(artifact, aliases=aliases or None)
