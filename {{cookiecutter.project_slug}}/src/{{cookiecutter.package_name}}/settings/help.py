"""The text that a command prints for ``--help``."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
# ~ if cookiecutter.use_wandb
from contextlib import suppress
# ~ endif
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, create_model

from .check_settings import fields, flattened
# ~ if cookiecutter.use_wandb
from .stored_settings import CONFIGS
from .tracking import tracker_fields

# ~ else
from .stored_settings import CONFIGS

# ~ endif
WIDTH = min(100, max(60, shutil.get_terminal_size().columns))
NO_BREAK = "\u00a0"  # a space at which lines are not broken
# The limits and types in a JSON schema; pydantic names the limits of several types ge and gt.
SIGNS = {
    "minimum": ">=",
    "ge": ">=",
    "exclusiveMinimum": ">",
    "gt": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "a multiple of",
}
TYPES = {"boolean": "true, false", "integer": "an integer", "number": "a number", "array": "a list"}
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
    """
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = compose(command, list(overrides), return_hydra_config=True)
            train = compose("train")
    except HydraException as error:
        sys.exit(str(error))
    shared = [str(key) for key in train if command != "train" and key in config]
    own = [str(key) for key in config if key not in {"hydra", *shared}]
    settings = "".join(_settings(OmegaConf.masked_copy(config, own), model))
    if shared:
        names = ", ".join(shared)
        sentence = f"And these settings of a training run (uv run train --help): {names}."
        settings += "\n" + textwrap.fill(sentence, WIDTH) + "\n"
    presets = ""
    for group in sorted(name for name in config.hydra.runtime.choices if "/" not in name):
        files = sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
        presets += _entry(group, ", ".join(files))
    texts = config.hydra.help
    footer = texts.get("footer") or ""
    text = HELP.format(
        header=texts.header, command=command, settings=settings, presets=presets, footer=footer
    )
    sys.stdout.write(text.replace(NO_BREAK, " ") + "\n")


def _settings(config: DictConfig, model: type[BaseModel]) -> Iterator[str]:
    """Yield an entry for each setting, with its value, its explanation and its range."""
    tree = cast("dict[str, Any]", OmegaConf.to_container(config))
    known = dict(fields(model))
    # ~ if cookiecutter.use_wandb
    with suppress(ValueError):  # a wrong _target_ is reported when the command runs
        known |= tracker_fields(tree.get("tracking") or {})
    # ~ endif
    values = flattened(tree)
    explained = {
        path: (known[path].annotation, known[path])
        for path in values
        if path in known and known[path].description
    }
    schemas = create_model("Values", **cast("Any", explained)).model_json_schema()["properties"]
    for path, value in values.items():
        shown = json.dumps(value) if isinstance(value, bool | None) else value  # as in YAML
        schema = schemas.get(path, {})
        explanation = f"{schema.get('description', '')} {_range(schema)}".strip()
        group, _, key = path.rpartition(".")
        if key == "name" and not explanation and (CONFIGS / group).is_dir():
            explanation = f"The preset: choose it with {group}=PRESET."
        yield _entry(f"{path}={shown}", explanation)


def _entry(name: str, text: str) -> str:
    lines = textwrap.wrap(text, WIDTH - 38)
    if len(name) > 33 and lines:
        return f"  {name}\n" + "".join(f"{'':37}{line}\n" for line in lines)
    first, *more = lines or [""]
    return f"  {name:<34} {first}".rstrip() + "\n" + "".join(f"{'':37}{line}\n" for line in more)


def _range(schema: Mapping[str, Any]) -> str:
    """Return the values that a setting may have, in brackets; an empty text without limits."""
    options = [*schema.get("anyOf", []), schema]
    listed = any("enum" in option or "const" in option for option in options)
    parts: list[str] = []
    for option in options:
        words = option.get("enum", [option["const"]] if "const" in option else [])
        limits = [f"{sign} {option[name]}" for name, sign in SIGNS.items() if name in option]
        if words:
            parts += map(str, words)
        elif limits:
            parts.append(" and ".join(limits).replace(" ", NO_BREAK))
        elif listed and option.get("type") in TYPES:
            parts.append(TYPES[option["type"]])
    if parts and {"type": "null"} in options:
        parts.append("null")
    return f"[{', '.join(parts)}]" if parts else ""
