"""The command ``promote``: link a model into the registry if its score is good enough."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from ..errors import UsageError
from ..run.folder import Run
from ..settings.check_settings import Strict, check
from ..settings.hydra_launch import launch
from ..settings.schema import monitored
from .client import package, public_api, reason, requested_mode
from .registry import PREFIX, link, postpone, refuse
from .settings import WandbSettings


class PromoteSettings(Strict):
    """The settings of ``promote``; their defaults are in ``configs/promote.yaml``."""

    runs: Path = Field(description="The folder that holds the run folders.")
    checkpoint: str = Field(description="A run id or wandb:<artifact>:<alias>.")
    alias: str = Field(
        pattern=r"^[^/:]+$", description="The alias that the model gets, such as production."
    )
    min_metric: float | None = Field(
        description="Refuse a model whose score is worse than this value; null accepts any score."
    )
    registry: str = Field(description="The name of the W&B registry.")
    collection: str = Field(description="The collection in the registry.")
    force: bool = Field(description="Promote the model even if its score is worse.")
    tracking: WandbSettings

    @field_validator("checkpoint", "alias", mode="before")
    @classmethod
    def _is_given(cls, value: object) -> object:
        if value is None:
            raise ValueError("is missing, as in: checkpoint=RUN_ID alias=production")
        return value


def main() -> None:
    """Run the command ``promote``."""
    launch(
        "promote", PromoteSettings, lambda config: print(promote(check(config, PromoteSettings)))
    )


def promote(settings: PromoteSettings) -> str:
    """Link the model and return a message; without a server, ``wandb-sync`` links it later."""
    given, alias = settings.checkpoint, settings.alias
    run, is_artifact = Run(settings.runs / given), given.startswith(PREFIX)
    if not is_artifact and not run.settings_file.is_file():
        raise UsageError(
            f"checkpoint={given}: there is no such run in {settings.runs}/.\n"
            "Give the id of a run, or wandb:<artifact>:<alias>"
        )
    name = given.removeprefix(PREFIX) if is_artifact else f"model-{run.id}:best"
    target = f"wandb-registry-{settings.registry}/{settings.collection}"
    limits: dict[str, Any] = {"min_metric": settings.min_metric, "force": settings.force}
    problem = "tracking is not online (tracking.mode=online)"
    if requested_mode(settings.tracking) == "online":
        try:
            if package().login(prompt=False, verify=False):
                api = public_api(settings.tracking.model_dump())
                return link(api, api.artifact(name), target, alias, **limits)
            problem = "there is no API key (uv run wandb login)"
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            problem = reason(error)
    if is_artifact:  # only a run can wait for the server
        raise UsageError(f"checkpoint={given} needs the server, but {problem}.")
    if not settings.force:
        from ..training.checkpoint import read_checkpoint  # noqa: PLC0415 - PyTorch

        scores = read_checkpoint(run.best).get("scores", {})
        refuse(run.id, scores.get(monitored(scores)), settings.min_metric)
    postpone(run, {"action": "link", "artifact": name, "target": target, "alias": alias} | limits)
    return f"{problem}: uv run wandb-sync will make {run.id} {alias} of {target}."
