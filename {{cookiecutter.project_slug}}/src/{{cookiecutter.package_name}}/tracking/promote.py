"""``promote``: link a model into the registry under an alias, if it is good enough."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import Field, field_validator

from ..errors import UsageError
from ..run.folder import Run
from ..settings.check import Strict, check
from ..settings.launch import launch
from .settings import TrackingSettings


class PromoteSettings(Strict):
    """``configs/promote.yaml``."""

    runs: Path
    checkpoint: str
    alias: str = Field(pattern=r"^[^/:]+$")
    min_metric: float | None
    registry: str
    collection: str
    force: bool
    tracking: TrackingSettings

    @field_validator("checkpoint", "alias", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if value is None:
            raise ValueError("say which: checkpoint=<run id> alias=production")
        return value


def main() -> None:
    """The command."""
    launch("promote", PromoteSettings, _promote)


def _promote(config: DictConfig) -> None:
    settings = check(config, PromoteSettings)
    from .client import installed, say  # noqa: PLC0415 - a wrong setting is told at once

    if not installed():
        raise UsageError("promote needs the package wandb. Install it: uv sync")
    say(run_promotion(settings))


def run_promotion(settings: PromoteSettings) -> str:
    """Link the model now, or note that ``wandb-sync`` shall.

    Returns:
        What was done, to be printed.

    Raises:
        UsageError: if the model may not have the alias, or cannot be found.
    """
    from .artifacts import PREFIX, model_name  # noqa: PLC0415 - brings PyTorch
    from .client import public_api, reason  # noqa: PLC0415
    from .registry import link, target_of  # noqa: PLC0415

    target = target_of(settings.registry, settings.collection)
    run = _local_run(settings)
    if not _online(settings.tracking):
        return _queued(settings, run, target)
    path = Path(settings.checkpoint)
    try:
        api = public_api(settings.tracking)
        if run is None and path.suffix == ".ckpt":
            artifact = _logged(path, settings.tracking)
        elif settings.checkpoint.startswith(PREFIX):
            artifact = api.artifact(settings.checkpoint.removeprefix(PREFIX))
        else:
            artifact = api.artifact(f"{model_name(run.id if run else settings.checkpoint)}:best")
        return link(
            api,
            artifact,
            target,
            settings.alias,
            bar=settings.min_metric,
            force=settings.force,
        )
    except UsageError:
        raise
    except Exception as error:  # the package raises many kinds
        raise UsageError(f"checkpoint={settings.checkpoint}: {reason(error)}") from error


def _queued(settings: PromoteSettings, run: Run | None, target: str) -> str:
    """Leave the link to ``wandb-sync``, if the model's score allows it."""
    from .artifacts import model_name  # noqa: PLC0415 - brings PyTorch
    from .pending import postpone  # noqa: PLC0415
    from .registry import refusal  # noqa: PLC0415

    if run is None:
        raise UsageError(
            f"checkpoint={settings.checkpoint}: without a server, only a run in "
            f"{settings.runs}/ can be promoted.\nLog in: uv run wandb login"
        )
    why = refusal(_score(run), bar=settings.min_metric, holder=None, alias=settings.alias)
    if why is not None and not settings.force:
        raise UsageError(f"{run.id} is not promoted: {why}.\nforce=true promotes it all the same.")
    action = {
        "action": "link",
        "artifact": f"{model_name(run.id)}:best",
        "target": target,
        "alias": settings.alias,
        "bar": settings.min_metric,
        "force": settings.force,
    }
    postpone(run, action)
    return f"No server: uv run wandb-sync will make {run.id} {settings.alias} of {target}."


def _logged(path: Path, tracking: TrackingSettings) -> Any:
    """Log a checkpoint that lies in no run folder, with the score that it was saved for."""
    from ..task import MONITOR  # noqa: PLC0415
    from ..training.checkpoint import read_checkpoint  # noqa: PLC0415 - brings PyTorch
    from .client import package  # noqa: PLC0415

    states = read_checkpoint(path).get("callbacks", {}).values()
    scores = [state["best_model_score"] for state in states if state.get("monitor") == MONITOR]
    wandb = package()
    with (
        tempfile.TemporaryDirectory() as folder,
        wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            job_type="promote",
            dir=folder,
            settings=wandb.Settings(silent=True),
        ) as run,
    ):
        facts = {MONITOR: float(scores[0])} if scores and scores[0] is not None else {}
        artifact = wandb.Artifact(f"model-{path.stem}", "model", metadata=facts)
        artifact.add_file(str(path), name=path.name)
        return run.log_artifact(artifact).wait()


def _local_run(settings: PromoteSettings) -> Run | None:
    path = Path(settings.checkpoint)
    run = Run(path.parent.parent) if path.suffix == ".ckpt" else Run(settings.runs / path)
    return run if run.settings_file.is_file() else None


def _online(tracking: TrackingSettings) -> bool:
    from .client import asked_mode, has_key, package  # noqa: PLC0415 - brings PyTorch

    mode = asked_mode(tracking, os.environ)
    return mode == "online" or (mode is None and has_key(package()))


def _score(run: Run) -> float | None:
    from ..task import MONITOR  # noqa: PLC0415 - brings PyTorch
    from .artifacts import FACTS  # noqa: PLC0415

    path = run.best.with_name(FACTS)
    facts: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return facts.get(MONITOR)
