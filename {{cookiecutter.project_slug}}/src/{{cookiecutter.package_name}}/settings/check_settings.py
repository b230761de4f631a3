"""Check a tree of settings against a pydantic model, and report all mistakes together."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..errors import UsageError


class Strict(BaseModel):
    """A group of settings: unknown keys are refused, and values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


ModelT = TypeVar("ModelT", bound=BaseModel)


def check(config: DictConfig | Mapping[str, Any], model: type[ModelT]) -> ModelT:
    """Turn a config or a plain tree into typed settings; raise a UsageError with all mistakes."""
    tree = resolved(config) if isinstance(config, DictConfig) else config
    refuse(problems(tree, model))
    return model.model_validate(tree)


def resolved(config: DictConfig) -> dict[str, Any]:
    """Turn a config into plain values; raise a UsageError if one refers to a missing value."""
    try:
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise UsageError(f"The settings cannot be resolved: {error}") from error


def flattened(tree: Mapping[Any, object], prefix: str = "") -> dict[str, object]:
    """Return the values of a nested tree by their dotted paths, such as ``optimizer.lr``."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:  # an empty group is a value
            flat |= flattened(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted path and the pydantic field of each setting, also of nested models."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path, field
        for inner in _models(field.annotation):
            yield from fields(inner, f"{path}.")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, types.UnionType, Annotated}:
        for part in get_args(annotation):
            yield from _models(part)


def problems(tree: Mapping[str, Any], model: type[BaseModel]) -> list[tuple[str, str]]:
    """Return the dotted path of each wrong setting and the reason; an empty list if it is valid."""
    errors = validation_errors(tree, model)
    wrong = [location(details, tree) for details in errors]
    known = [path for path, _ in fields(model)]
    # ~ if cookiecutter.use_wandb
    # The settings of a tracker are in the tree, but not in the model.
    known += [path for path in flattened(tree) if path not in wrong]
    # ~ endif
    return [
        (path, _reason(details, path, known)) for details, path in zip(errors, wrong, strict=True)
    ]


def validation_errors(tree: Mapping[str, Any], model: type[BaseModel]) -> list[ErrorDetails]:
    """Return the errors that pydantic reports for a tree; an empty list if it is valid."""
    try:
        model.model_validate(tree)
    except ValidationError as error:
        return error.errors()
    return []


def refuse(mistakes: Sequence[tuple[str, str]]) -> None:
    """Raise a UsageError with the dotted path and the reasons of each mistake, if there are any."""
    reasons: dict[str, list[str]] = {}
    for path, reason in mistakes:
        if reason not in reasons.setdefault(path, []):  # that of each entry of a list
            reasons[path].append(reason)
    if reasons:
        width = max(map(len, reasons))
        count = "1 setting is" if len(reasons) == 1 else f"{len(reasons)} settings are"
        lines = [f"  {path:<{width}}  {'; or: '.join(texts)}" for path, texts in reasons.items()]
        raise UsageError("\n".join([f"{count} wrong:", "", *lines, "", "All settings: --help"]))


def location(details: ErrorDetails, tree: Any) -> str:
    """Return the dotted path of the setting that an error is about.

    Pydantic's location also names members of unions, as in ``data.shapes.root``; they are no keys.
    """
    keys: list[str] = []
    for part in details["loc"]:
        if isinstance(tree, Mapping) and part in tree:
            keys.append(str(part))
            tree = tree[part]
    if details["type"] == "missing":
        keys.append(str(details["loc"][-1]))
    return ".".join(keys)


def _reason(details: ErrorDetails, path: str, known: Sequence[str]) -> str:
    """Return why a setting is wrong; suggest one of ``known`` in place of an unknown one."""
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        if path in known:  # of another member of a union
            return "is not a setting of {}={}".format(*details["loc"])
        names = {setting.rsplit(".", 1)[-1]: setting for setting in reversed(known)}
        similar = difflib.get_close_matches(path, known, n=1)
        last = path.rsplit(".", 1)[-1]
        similar += [names[name] for name in difflib.get_close_matches(last, names, n=1)]
        return "is not a setting" + (f"; did you mean {similar[0]}?" if similar else "")
    if details["type"] == "missing":
        return (
            "is missing: write its value into configs/base.yaml or, if it belongs to one command, "
            "into the file of the command"
        )
    if details["type"] == "value_error":
        return message
    return f"is {details['input']!r}: {message[0].lower()}{message[1:]}"
