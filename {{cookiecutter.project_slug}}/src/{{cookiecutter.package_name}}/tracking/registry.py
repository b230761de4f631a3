"""The registry: which model holds an alias, and whether another may take it."""

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ..task import METRICS, MONITOR


def target_of(registry: str, collection: str) -> str:
    """Where a collection of a registry is linked to."""
    return f"wandb-registry-{registry}/{collection}"


def worse(one: float, other: float) -> bool:
    """Whether the first score is the worse of two."""
    return one < other if METRICS[MONITOR] == "max" else one > other


def refusal(
    score: float | None, *, bar: float | None, holder: Mapping[str, Any] | None, alias: str
) -> str | None:
    """Why a model may not take an alias; None if it may.

    Args:
        score: its best validation score, None if nobody knows.
        bar: what it must reach, or None.
        holder: the metadata of what holds the alias now, or None.
        alias: the alias.
    """
    if bar is not None:
        if score is None:
            return f"its {MONITOR} is not known, so it cannot be held against min_metric={bar:g}"
        if worse(score, bar):
            return f"its {MONITOR} is {score:.4f}, but min_metric asks for {bar:g}"
    held = None if holder is None else holder.get(MONITOR)
    if held is not None and (score is None or worse(score, held)):
        mine = "not known" if score is None else f"{score:.4f}"
        return f"its {MONITOR} is {mine}, but {alias} is held by a model with {held:.4f}"
    return None


def link(
    api: Any, artifact: Any, target: str, alias: str, *, bar: float | None, force: bool
) -> str:
    """Link an artifact into a registry under an alias.

    Args:
        api: W&B's.
        artifact: of a model.
        target: see ``target_of``.
        alias: moves here from whatever holds it.
        bar: the score that it must reach, or None.
        force: link whatever the scores say.

    Returns:
        What was done, to be printed.

    Raises:
        UsageError: if it may not have the alias.
    """
    holder = f"{target}:{alias}"
    held = api.artifact(holder).metadata if api.artifact_exists(holder) else None
    score = artifact.metadata.get(MONITOR)
    why = None if force else refusal(score, bar=bar, holder=held, alias=alias)
    if why is not None:
        raise UsageError(
            f"{artifact.name} is not promoted: {why}.\nforce=true promotes it all the same."
        )
    artifact.link(target, aliases=[alias])
    return f"{artifact.name} is now {alias} of {target}."
