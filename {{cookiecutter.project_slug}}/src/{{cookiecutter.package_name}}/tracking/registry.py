"""Download checkpoints from the W&B server, and link models into its registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..run.files import write_text
from ..settings.tree import METRICS, MONITOR, monitored
from .client import installed, public_api, reason

PREFIX = "wandb:"
SOURCE = "artifact.txt"  # in the folder of a fetched checkpoint: the name of its artifact


def fetch_checkpoint(wanted: str, tracking: Mapping[str, Any] | None) -> Path:
    """Download the checkpoint ``wandb:<artifact>:<alias>`` into ``artifacts/``; return its path.

    The name of the artifact may begin with entity and project, or with a registry.

    Raises:
        UsageError: if there is no such artifact, or it cannot be reached.
    """
    if not installed():
        raise UsageError(f"checkpoint={wanted}: wandb is not installed. Install it: uv sync")
    try:
        artifact = public_api(tracking).artifact(wanted.removeprefix(PREFIX))
        target = Path("artifacts") / f"{artifact.collection.name}-{artifact.version}"
        artifact.download(str(target))
    except Exception as error:  # wandb raises many kinds, ValueError among them
        raise UsageError(
            f"checkpoint={wanted} cannot be fetched: {reason(error)}\n"
            "Name it as wandb:<artifact>:<alias> or wandb:<entity>/<project>/<artifact>:<alias>, "
            "and log in: uv run wandb login"
        ) from error
    checkpoints = sorted(target.glob("*.ckpt"))
    if not checkpoints:
        raise UsageError(f"checkpoint={wanted}: the artifact has no *.ckpt file.")
    write_text(target / SOURCE, f"{artifact.source_qualified_name}\n")
    return checkpoints[0]


def link(
    api: Any, artifact: Any, target: str, alias: str, *, min_metric: float | None, force: bool
) -> str:
    """Link a model into ``target`` under an alias, which another model then loses.

    ``target`` is ``wandb-registry-<registry>/<collection>``; with ``force`` no model is refused.

    Returns:
        A message for the user.

    Raises:
        UsageError: if the model is worse than ``min_metric`` or than the holder of the alias.
    """
    holder = f"{target}:{alias}"
    monitor = monitored(artifact.metadata)
    current = api.artifact(holder).metadata.get(monitor) if api.artifact_exists(holder) else None
    if not force:
        refuse(artifact.name, artifact.metadata.get(monitor), min_metric, current, alias)
    artifact.link(target, aliases=[alias])
    return f"{artifact.name} is now {alias} of {target}."


def refuse(
    name: str, score: float | None, min_metric: float | None, current: float | None, alias: str
) -> None:
    """Refuse a model if its score is worse than ``min_metric`` or the ``current`` holder's score.

    Raises:
        UsageError: with the reason.
    """
    sign = 1 if METRICS[MONITOR] == "max" else -1
    shown = "not known" if score is None else f"{score:.4f}"
    for limit, text in (
        (min_metric, f"min_metric asks for {min_metric}"),
        (current, f"the model that holds {alias} has {current}"),
    ):
        if limit is not None and (score is None or sign * score < sign * limit):
            raise UsageError(
                f"{name} is not promoted: its best score is {shown}, but {text}.\n"
                "To promote it nevertheless: force=true"
            )
