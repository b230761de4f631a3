"""The best checkpoint as a versioned artifact, ``model-<run id>``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..settings.tree import MONITOR
from ..training.checkpoint import read_checkpoint
from .logger import RunLogger


class BestModel(Callback):
    """Log the best checkpoint when the training ends, also after an error."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it."""
        log_model(self.logger, self.logger.run.best, "best")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log it."""
        log_model(self.logger, self.logger.run.best, "best")


def log_model(logger: RunLogger, path: Path, alias: str) -> None:
    """Log a checkpoint under an alias, if there is one that has not been logged yet."""
    if logger.tracking.log_model is None or not path.is_file():
        return
    written = path.stat().st_mtime_ns
    if logger.models.get(alias, (0, None))[0] == written:
        return
    with logger.guarded("logging the model"):
        checkpoint = read_checkpoint(path)
        facts = logger.facts | {"epoch": checkpoint["epoch"]}
        if alias == "best" and (score := best_score(checkpoint)) is not None:
            facts[MONITOR] = score
        name = f"model-{logger.run.id}"
        version = log_files(logger, "model", name, [path], aliases=[alias], facts=facts)
        logger.models[alias] = (written, version)


def best_score(checkpoint: Mapping[str, Any]) -> float | None:
    """The best validation score when the checkpoint was written, if it is known."""
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
    """Log files of the run folder as a version of an artifact; ``facts`` is its metadata.

    Returns:
        The version, which may not have been uploaded yet.
    """
    artifact = logger.wandb.Artifact(name, kind, metadata=dict(facts or {}))
    for path in files:
        artifact.add_file(str(path), name=path.name)
    action: dict[str, Any] = {"action": "log", "kind": kind, "artifact": name}
    action |= {"aliases": list(aliases), "facts": dict(facts or {})}
    action["files"] = [str(path.relative_to(logger.run.folder)) for path in files]
    logger.artifacts.append(action)
    return logger.experiment.log_artifact(artifact, aliases=list(aliases) or None)
