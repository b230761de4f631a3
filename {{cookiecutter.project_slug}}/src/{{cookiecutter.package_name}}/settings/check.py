"""Check a composed config against a pydantic model, and tell all that is wrong at once."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from ..errors import UsageError


class Strict(BaseModel):
    """A part of the tree: unknown keys are refused, values do not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ModelT = TypeVar("ModelT", bound=BaseModel)


def check(config: DictConfig, model: type[ModelT]) -> ModelT:
    """Turn a composed config into typed settings.

    Raises:
        UsageError: with all that is wrong, a line for each setting.
    """
    tree = resolved(config)
    refuse(problems(tree, model))
    return model.model_validate(tree)


def resolved(config: DictConfig) -> dict[str, Any]:
    """Turn a composed config into plain values.

    Raises:
        UsageError: if one of them refers to what is not there.
    """
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UsageError(f"The settings cannot be resolved: {error}") from error


def flattened(tree: Mapping[Any, object], prefix: str = "") -> dict[str, object]:
    """The values of a tree by their paths, such as ``optimizer.lr``."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat |= flattened(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def problems(tree: Mapping[str, Any], model: type[BaseModel]) -> list[tuple[str, str]]:
    """All that is wrong with a tree of settings: paths and reasons."""
    try:
        model.model_validate(tree)
    except ValidationError as error:
        unknown = {
            ".".join(map(str, details["loc"]))
            for details in error.errors()
            if details["type"] == "extra_forbidden"
        }
        # A tracker's settings are in the tree, but not in the model.
        known = [*_paths(model), *(path for path in flattened(tree) if path not in unknown)]
        return [_problem(details, known) for details in error.errors()]
    return []


def refuse(found: Sequence[tuple[str, str]]) -> None:
    """Tell problems, if there are any.

    Raises:
        UsageError: with a line for each.
    """
    if found:
        width = max(len(path) for path, _ in found)
        count = "1 setting is" if len(found) == 1 else f"{len(found)} settings are"
        lines = [f"  {path:<{width}}  {reason}" for path, reason in found]
        raise UsageError("\n".join([f"{count} wrong:", "", *lines, "", "All settings: --cfg job"]))


def continued(
    stored: Mapping[str, Any], config: DictConfig, overrides: Sequence[str]
) -> DictConfig:
    """Take the settings of an earlier run and change only what the command line names.

    Raises:
        UsageError: if the command line names a preset without a place of its own in the tree.
    """
    keys = [override.lstrip("+~").split("=", 1)[0] for override in overrides]
    presets = sorted({"debug", "experiment"}.intersection(keys))
    if presets:
        raise UsageError(
            f"{presets[0]}=... changes many settings at once, but a checkpoint keeps its own.\n"
            "Name the single settings to change instead, such as trainer.max_epochs=20."
        )
    merged = config.copy()
    OmegaConf.set_struct(merged, value=False)
    for key, value in stored.items():
        merged[key] = value
    image_size = OmegaConf.select(merged, "data.image_size")
    for key in keys:
        OmegaConf.update(merged, key, OmegaConf.select(config, key), merge=False, force_add=True)
    if "data.image_size" not in keys:
        merged.data.image_size = image_size  # other data, seen at the size that the weights know
    return merged


def _problem(details: ErrorDetails, known: Sequence[str]) -> tuple[str, str]:
    # The name of a union's member stands in pydantic's location, though not in the config.
    location = [str(part) for part in details["loc"]]
    if len(location) > 1 and location[0] == "data":
        del location[1]
    path = ".".join(part for part in location if part not in {"int", "str", "literal['auto']"})
    if details["type"] == "extra_forbidden":
        if path in known:
            return path, f"is not a setting of {location[0]}={details['loc'][1]}"
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.6) or [
            other for other in known if other.rsplit(".", 1)[-1] == path.rsplit(".", 1)[-1]
        ]
        return path, "is not a setting" + (f"; did you mean {near[0]}?" if near else "")
    if details["type"] == "missing":
        return path, "is missing"
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "value_error":
        return path, message
    return path, f"is {details['input']!r}: {message[0].lower()}{message[1:]}"


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + (field.alias or name)
        for inner in _models(field.annotation):
            yield from _paths(inner, f"{prefix}{name}.")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, types.UnionType, Annotated}:
        for part in get_args(annotation):
            yield from _models(part)
