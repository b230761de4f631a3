"""Log checkpoints and other files of a run as versioned W&B artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..settings.tree import MONITOR
from ..training.checkpoint import read_checkpoint
from .logger import RunLogger


class BestModel(Callback):
    """Log the best checkpoint as an artifact when the training ends or fails."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the best checkpoint."""
        log_model(self.logger, self.logger.run.best, "best")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the best checkpoint."""
        log_model(self.logger, self.logger.run.best, "best")


def log_model(logger: RunLogger, path: Path, alias: str) -> None:
    """Log a checkpoint as a version of the artifact ``model-<run id>`` with an alias.

    Nothing is logged if ``tracking.log_model`` is null, the file does not exist, or the file has
    not changed since it was last logged.
    """
    if logger.tracking.log_model is None or not path.is_file():
        return
    modified = path.stat().st_mtime_ns
    if logger.models.get(alias, (0, None))[0] == modified:
        return
    with logger.guarded("logging the model"):
        checkpoint = read_checkpoint(path)
        facts = logger.facts | {"epoch": checkpoint["epoch"]}
        if alias == "best" and (score := best_score(checkpoint)) is not None:
            facts[MONITOR] = score
        name = f"model-{logger.run.id}"
        version = log_files(logger, "model", name, [path], aliases=[alias], facts=facts)
        logger.models[alias] = (modified, version)


def best_score(checkpoint: Mapping[str, Any]) -> float | None:
    """Return the best validation score that a checkpoint has stored, or None."""
    for state in checkpoint.get("callbacks", {}).values():
        if state.get("monitor") == MONITOR and state.get("best_model_score") is not None:
            return float(state["best_model_score"])
    return None


def log_files(
    logger: RunLogger,
    kind: str,
    name: str,
    files: Sequence[Path],
    *,
    aliases: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Any:
    """Log files of the run folder as a version of a W&B artifact.

    Args:
        logger: the logger of the run.
        kind: the type of the artifact, such as ``model``.
        name: the name of the artifact, without a version.
        files: files of the run folder.
        aliases: names for this version, such as ``best``.
        facts: the metadata of this version.

    Returns:
        The W&B artifact, whose upload may not have ended yet.
    """
    artifact = logger.wandb.Artifact(name, kind, metadata=dict(facts or {}))
    for path in files:
        artifact.add_file(str(path), name=path.name)
    action: dict[str, Any] = {"action": "log", "kind": kind, "artifact": name}
    action |= {"aliases": list(aliases), "facts": dict(facts or {})}
    action["files"] = [str(path.relative_to(logger.run.folder)) for path in files]
    logger.artifacts.append(action)
    return logger.experiment.log_artifact(artifact, aliases=list(aliases) or None)
