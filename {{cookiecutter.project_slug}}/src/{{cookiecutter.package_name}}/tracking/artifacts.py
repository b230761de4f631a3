"""Log checkpoints and other files of a run as versioned W&B artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# ~ if cookiecutter.scope == "complete"
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

# ~ else
from lightning.pytorch import Callback, LightningModule, Trainer

# ~ endif
from ..settings.tree import METRICS
from ..training.checkpoint import read_checkpoint
from .logger import RunLogger

# ~ if cookiecutter.scope == "complete"
MODEL_ACTION = "logging the model"
WATCH_STEPS = 100


class ModelArtifacts(Callback):
    """Log the checkpoints of a training as artifacts, and describe its model."""

    # ~ else
MODEL_ACTION = "logging the model"


class ModelArtifacts(Callback):
    """Log the best checkpoint as an artifact when the training ends or fails."""

    # ~ endif
    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.logged: dict[str, tuple[int, Any]] = {}  # by alias: time of the file, artifact

    # ~ if cookiecutter.scope == "complete"
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the size of the model; with ``tracking.watch``, also its weights or gradients."""
        run, watched = self.logger.experiment, self.logger.tracking.watch
        with self.logger.guarded("describing the model"):
            size = ModelSummary(pl_module)
            numbers = {"parameters": size.total_parameters, "trainable": size.trainable_parameters}
            run.config.update({"model_size": numbers | {"megabytes": round(size.model_size, 3)}})
            if watched:
                run.watch(pl_module, log=watched, log_freq=WATCH_STEPS, log_graph=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a new best checkpoint every ``tracking.log_model_every_n_epochs`` epochs."""
        every = self.logger.tracking.log_model_every_n_epochs
        if every and (trainer.current_epoch + 1) % every == 0:
            self._log_checkpoint(self.logger.run.best, "best")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the checkpoints; delete old versions if the settings say so."""
        self._log_checkpoints()
        if self.logger.tracking.prune_models and not self.logger.offline:
            with self.logger.guarded("deleting old models"):
                self._prune()

    def _prune(self) -> None:
        """Delete the versions of this run's model that have no alias."""
        for _, version in self.logged.values():  # aliases move when the upload has ended
            version.wait(timeout=self.logger.tracking.finish_timeout)
        run = self.logger.experiment
        name = f"{run.entity}/{run.project}/model-{self.logger.run.id}"
        for version in self.logger.wandb.Api().artifacts("model", name):
            if not version.aliases:
                version.delete()

    # ~ else
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best checkpoint."""
        self._log_checkpoints()

    # ~ endif
    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the checkpoints of a training that fails."""
        self._log_checkpoints()

    def _log_checkpoints(self) -> None:
        # ~ if cookiecutter.scope == "complete"
        self._log_checkpoint(self.logger.run.best, "best")
        if self.logger.tracking.log_model == "all":
            self._log_checkpoint(self.logger.run.last, "last")

        # ~ else
        self._log_checkpoint(self.logger.run.best, "best")

        # ~ endif
    def _log_checkpoint(self, path: Path, alias: str) -> None:
        """Log a checkpoint as a version of ``model-<run id>``, unless it is logged already."""
        logger = self.logger
        if logger.tracking.log_model is None or not path.is_file():
            return
        modified = path.stat().st_mtime_ns
        if alias in self.logged and self.logged[alias][0] == modified:
            return
        with logger.guarded(MODEL_ACTION):
            checkpoint = read_checkpoint(path)
            metadata = logger.model_metadata | {"epoch": checkpoint["epoch"]}
            if alias == "best":
                metadata |= best_score(checkpoint)
            name = f"model-{logger.run.id}"
            files = [path, *([logger.run.split] if logger.run.split.is_file() else [])]
            version = log_files(logger, "model", name, files, [alias], metadata)
            self.logged[alias] = (modified, version)


def best_score(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Return the best validation score that a checkpoint has stored by its name, if it has one."""
    for state in checkpoint.get("callbacks", {}).values():
        if state.get("monitor") in METRICS and state.get("best_model_score") is not None:
            return {state["monitor"]: float(state["best_model_score"])}
    return {}


def log_files(
    logger: RunLogger,
    kind: str,
    name: str,
    files: Sequence[Path],
    aliases: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Log files of the run folder as a version of the W&B artifact ``name`` of the type ``kind``.

    Returns:
        The artifact, whose upload may not have ended yet.
    """
    artifact = logger.wandb.Artifact(name, kind, metadata=dict(metadata or {}))
    for path in files:
        artifact.add_file(str(path), name=path.name)
    # ~ if cookiecutter.scope == "complete"
    # If the server is lost, wandb-sync logs these files with the same arguments.
    logger.artifacts.append(
        {
            "action": "log",
            "kind": kind,
            "artifact": name,
            "aliases": list(aliases),
            "facts": dict(metadata or {}),
            "files": [str(path.relative_to(logger.run.folder)) for path in files],
        }
    )
    # ~ endif
    return logger.experiment.log_artifact(artifact, aliases=list(aliases) or None)
