"""The experiment trackers that ``tracking`` names.

A tracker is a mapping with ``_target_``, the name of a class, and the arguments of that class. The
mapping ``tracking`` is a tracker, or holds trackers under names of their own, or both: so
``tracking=[a,b]``, which merges ``configs/tracking/a.yaml`` and ``b.yaml``, gives two trackers.
"""

from collections.abc import Mapping
# ~ if cookiecutter.use_wandb
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from .check_settings import fields

TARGET = "_target_"
PACKAGE = f"{__name__.split('.')[0]}."


# ~ else
from typing import Annotated, Any

from pydantic import AfterValidator

TARGET = "_target_"


# ~ endif


def split_trackers(tracking: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the arguments of each tracker by its path, ``tracking`` or ``tracking.<name>``."""
    named = {name: value for name, value in tracking.items() if _is_tracker(value)}
    unnamed = {name: value for name, value in tracking.items() if name not in named}
    trackers = {f"tracking.{name}": dict(value) for name, value in named.items()}
    return {"tracking": unnamed, **trackers} if unnamed else trackers


def _is_tracker(value: object) -> bool:
    return isinstance(value, Mapping) and TARGET in value


# ~ if cookiecutter.use_wandb
def tracker_fields(tracking: Mapping[str, Any]) -> dict[str, FieldInfo]:
    """Return the fields of the trackers that are pydantic models, by path, for ``--help``."""
    return {
        path: field
        for prefix, arguments in split_trackers(tracking).items()
        if (model := _model(arguments)) is not None
        for path, field in fields(model, f"{prefix}.")
    }


def _model(value: Any) -> type[BaseModel] | None:
    """Return the class of a tracker if it is a pydantic model of this package, otherwise None.

    Lightning's loggers are not imported, because that imports PyTorch.
    """
    if not _is_tracker(value) or not str(value[TARGET]).startswith(PACKAGE):
        return None
    try:
        tracker = resolve_name(value[TARGET])
    except Exception as error:
        raise ValueError(
            f"{value[TARGET]} does not exist; choose a tracker: tracking=<file of configs/tracking>"
        ) from error
    return tracker if isinstance(tracker, type) and issubclass(tracker, BaseModel) else None


def _check_tracker(value: Any) -> Any:
    model = _model(value)
    if model is not None:
        model.model_validate({key: item for key, item in value.items() if not _is_tracker(item)})
    return value


# ~ endif
def _check_owners(tracking: dict[str, Any]) -> dict[str, Any]:
    """Refuse arguments in ``tracking`` that belong to no tracker."""
    unnamed = split_trackers(tracking).get("tracking", {})
    if unnamed and TARGET not in unnamed:
        names = ", ".join(unnamed)
        raise ValueError(
            f"no tracker takes {names}; choose one: tracking=<file of configs/tracking>"
        )
    return tracking


# ~ if cookiecutter.use_wandb
Tracking = Annotated[
    dict[str, Annotated[Any, AfterValidator(_check_tracker)]],
    AfterValidator(_check_owners),
    AfterValidator(_check_tracker),
]
# ~ else
Tracking = Annotated[dict[str, Any], AfterValidator(_check_owners)]
# ~ endif
