"""The experiment trackers that ``tracking`` names.

A tracker is a mapping with ``_target_``, the name of a class, and the arguments of that class. The
mapping ``tracking`` is a tracker itself, or holds trackers under names of their own, or both.
So ``tracking=[a,b]``, which merges ``a.yaml`` and ``b.yaml`` of ``configs/tracking``, has two.
"""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

TARGET = "_target_"
PACKAGE = f"{__name__.split('.')[0]}."


def split_trackers(tracking: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the trackers in the mapping ``tracking`` by their paths in the settings."""
    named = {name: value for name, value in tracking.items() if _is_tracker(value)}
    unnamed = {name: value for name, value in tracking.items() if name not in named}
    trackers = {f"tracking.{name}": dict(value) for name, value in named.items()}
    return {"tracking": unnamed, **trackers} if unnamed else trackers


def _is_tracker(value: object) -> bool:
    return isinstance(value, Mapping) and TARGET in value


def _check_arguments(value: Any) -> Any:
    """Let a tracker of this package, which is a pydantic model, check its arguments.

    Lightning's loggers are checked when they are built: importing them imports PyTorch.
    """
    if not _is_tracker(value) or not str(value[TARGET]).startswith(PACKAGE):
        return value
    try:
        tracker = resolve_name(value[TARGET])
    except Exception as error:
        raise ValueError(
            f"{value[TARGET]} does not exist; choose a tracker: tracking=<file of configs/tracking>"
        ) from error
    if isinstance(tracker, type) and issubclass(tracker, BaseModel):
        tracker.model_validate({key: own for key, own in value.items() if not _is_tracker(own)})
    return value


def _check_owners(tracking: dict[str, Any]) -> dict[str, Any]:
    unnamed = split_trackers(tracking).get("tracking", {})
    if unnamed and TARGET not in unnamed:
        names = ", ".join(unnamed)
        raise ValueError(
            f"no tracker takes {names}; choose one: tracking=<file of configs/tracking>"
        )
    return tracking


Tracking = Annotated[
    dict[str, Annotated[Any, AfterValidator(_check_arguments)]],
    AfterValidator(_check_owners),
    AfterValidator(_check_arguments),
]
