"""The text that a command prints for ``--help``."""

import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import annotated_types
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .check_settings import fields, flattened
from .stored_settings import CONFIGS
from .tracking import tracker_fields

WIDTH = 100
NO_BREAK = "\u00a0"  # a space at which lines are not broken
UNIONS = {Union, UnionType}
KINDS: dict[Any, str] = {
    bool: "true, false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list[float]: "a list of numbers",
}
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "multiple_of": "a multiple of"}
HELP = """\
{header}

  uv run {command} [GROUP=PRESET ...] [SETTING=VALUE ...]

{settings}
Presets, as GROUP=PRESET:

{presets}
{footer}
--cfg job prints the composed settings; -m runs once for each combination of values a,b,c."""


def print_help(command: str, model: type[BaseModel], overrides: Sequence[str]) -> None:
    """Print the purpose of a command, its settings with values and ranges, presets and examples.

    Hydra's own ``--help`` takes twice the time: it copies all configs once for each group.

    Args:
        command: the name of the command and of its file in ``configs/``.
        model: the settings of the command.
        overrides: settings of the command line, whose values are shown.
    """
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(command, list(overrides), return_hydra_config=True)
            train = compose("train")
    except HydraException as error:
        sys.exit(str(error))
    shared = [str(key) for key in train if command != "train" and key in config]
    groups = sorted(name for name in config.hydra.runtime.choices if "/" not in name)
    presets = {
        name: ", ".join(sorted(path.stem for path in (CONFIGS / name).glob("*.yaml")))
        for name in groups
    }
    own = [str(key) for key in config if key not in {"hydra", *shared}]
    text = HELP.format(
        header=config.hydra.help.header,
        command=command,
        settings="".join(_settings(OmegaConf.masked_copy(config, own), model)) + _shared(shared),
        presets="".join(_entry(name, names) for name, names in presets.items()),
        footer=config.hydra.help.get("footer") or "",
    )
    sys.stdout.write(text.replace(NO_BREAK, " ") + "\n")


def _shared(names: list[str]) -> str:
    if not names:
        return ""
    sentence = f"And these settings of a training run (uv run train --help): {', '.join(names)}."
    return "\n" + textwrap.fill(sentence, WIDTH) + "\n"


def _settings(config: DictConfig, model: type[BaseModel]) -> Iterator[str]:
    """Yield an entry for each setting, with its value, its explanation and its range.

    The settings in ``tracking`` are explained by the classes of the trackers.
    """
    tree = cast("dict[str, Any]", OmegaConf.to_container(config))
    known = {".".join(path): field for path, field in fields(model)}
    with suppress(ValueError):  # a wrong _target_ is reported when the command runs
        known |= tracker_fields(tree.get("tracking") or {})
    for path, value in flattened(tree).items():
        group = path.partition(".")[0]
        if group != path and group in known:
            description = known.pop(group).description  # printed once, before the first setting
            if description:
                yield _entry(group, description)
        shown = json.dumps(value) if isinstance(value, bool | None) else value  # as in YAML
        field = known.get(path)
        explanation = ""  # the name of a preset has none: presets are listed below the settings
        if field is not None and field.description:
            explanation = f"{field.description} {_range(field)}".strip()
        yield _entry(f"{path}={shown}", explanation)


def _entry(name: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 38)
    if len(name) > 33 and lines:
        return f"  {name}\n" + "".join(f"{'':37}{line}\n" for line in lines)
    first, *more = lines or [""]
    return f"  {name:<34} {first}".rstrip() + "\n" + "".join(f"{'':37}{line}\n" for line in more)


def _range(field: FieldInfo) -> str:
    """Return the values that a setting may have, in brackets; an empty text without limits."""
    parts = [*_values(field.annotation), *_limits(field)]
    if parts and type(None) in get_args(field.annotation):
        parts.append("null")
    return f"[{', '.join(parts)}]" if parts else ""


def _values(annotation: Any) -> Iterator[str]:
    """Yield the values that a type lists, and the kinds of values that it allows in addition."""
    if get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    parts = get_args(annotation) if get_origin(annotation) in UNIONS else ()
    if any(get_origin(part) is Literal for part in parts):
        for part in parts:
            kind, *annotated = get_args(part) if get_origin(part) is Annotated else (part,)
            limits = [limit for field in annotated for limit in _limits(field)]
            yield from limits or [KINDS[kind]] if kind in KINDS else _values(kind)


def _limits(field: FieldInfo) -> Iterator[str]:
    bounds = [
        f"{SIGNS[name]}{NO_BREAK}{getattr(limit, name)}"
        for limit in field.metadata
        if isinstance(limit, annotated_types.BaseMetadata)
        for name in SIGNS
        if getattr(limit, name, None) is not None
    ]
    if bounds:
        yield f"{NO_BREAK}and{NO_BREAK}".join(bounds)
