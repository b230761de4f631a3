"""The settings that a run or a checkpoint has stored: update them, and override some of them."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from pydantic import BaseModel

from ..errors import UsageError
from ..run.environment import REDACTED
from ..run.folder import Run
from .check_settings import check, flattened, location, resolved, validation_errors
from .schema import Settings
from .tracking import TARGET

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[1] / "configs"
# Values of settings that older versions lacked, where today's defaults would change their results.
FORMER_VALUES = {"data.fit": "{{ 'crop' if cookiecutter.task == 'classification' else 'stretch' }}"}
# Settings that training derives from its data if they are null.
DERIVED = ("data.image_size", "data.value_range")
# The settings that determine the form of the optimiser's state.
# ~ if cookiecutter.scope == "complete"
UNCHANGEABLE = ("optimizer.name", "optimizer.backbone_lr", "optimizer.layer_decay", "model.freeze")


# ~ else
UNCHANGEABLE = ("optimizer.name",)


# ~ endif
def completed(tree: Mapping[str, Any], model: type[BaseModel], *, source: object) -> dict[str, Any]:
    """Convert settings that an earlier version of this project has stored to the current form.

    A setting that the tree lacks gets its value in ``FORMER_VALUES`` or the current default; a
    setting that no longer exists is left out. Both are logged with the file ``source``, unless it
    is None.
    """
    # ~ if cookiecutter.task == "classification"
    data, fractions = tree.get("data"), ("val_fraction", "test_fraction")
    if isinstance(data, dict) and all(isinstance(data.get(key), float) for key in fractions):
        rest = {key: value for key, value in data.items() if key not in fractions}
        val, test = (data[key] for key in fractions)  # split has superseded them
        tree = {**tree, "data": {**rest, "split": [1 - val - test, val, test]}}
    # ~ endif
    errors, current = validation_errors(tree, model), deepcopy(dict(tree))
    defaults = _defaults(tree) if errors else {}
    added, removed = [], []
    for details in errors:
        path = location(details, tree)
        keys = path.split(".")
        if details["type"] == "extra_forbidden":
            _replace(current, keys, {})
            removed.append(path)
        elif details["type"] == "missing":
            former = FORMER_VALUES.get(path)
            note = f"{former}, as before" if former else "default"
            added += [f"{path} ({note})"] if _replace(current, keys, defaults) else []
        elif path.startswith("tracking"):  # of a tracker that no longer exists
            _replace(current, ["tracking"], defaults)
            removed.append(path)
    if added and source is not None:
        log.info("%s lacks settings, which are added: %s.", source, ", ".join(added))
    if removed and source is not None:
        log.info("%s has settings that no longer exist: %s.", source, ", ".join(removed))
    return current


def _defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults, with the presets that the tree names, such as ``data=shapes``."""
    words = [f"{path}={value}" for path, value in FORMER_VALUES.items()]
    for group, part in tree.items():
        name = part.get("name") if isinstance(part, dict) else None
        # A stored name such as ../x must not lead to a file elsewhere.
        if f"{group}{name}".isidentifier() and (CONFIGS / group / f"{name}.yaml").is_file():
            words.append(f"{group}={name}")
    if GlobalHydra.instance().is_initialized():
        return resolved(compose("train", words))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return resolved(compose("train", words))


def resumed_settings(run: Run, config: DictConfig, overrides: Sequence[str]) -> Settings:
    """Return the settings of a run that is resumed, given the config of the command."""
    stored, composed = completed(run.settings, Settings, source=run.settings_file), resolved(config)
    overrides = without_presets(overrides, stored, composed)
    refer_to_split(stored["data"], [run.split], overrides)
    derived = [path for path in DERIVED if flattened(composed).get(path) is None]
    tree = overridden(stored, composed, overrides, keep=derived)
    before, after = flattened(stored), flattened(tree)
    for path in UNCHANGEABLE:
        if before.get(path) != after.get(path):
            raise UsageError(
                f"{path}={after.get(path)} cannot be changed when a run is resumed, since the "
                # ~ if cookiecutter.scope == "complete"
                "state of the optimiser would not fit. Leave it out, or start a new run from the "
                "same weights: init=RUN_ID"
                # ~ else
                "state of the optimiser would not fit. Leave it out, or start a new training run."
                # ~ endif
            )
    _check_trackers(tree.get("tracking"), composed.get("tracking"), run)
    return check(tree, Settings)


def without_presets(
    overrides: Sequence[str], stored: Mapping[str, Any], composed: Mapping[str, Any]
) -> list[str]:
    """Replace presets by the settings that they name, so that a resumed run keeps all others.

    A preset that builds on another one names the settings in its own file: ``trainer=cpu`` is
    ``trainer.accelerator``. Any other preset names its whole group, and is refused if it would
    change a setting that the command line does not name.
    """
    words: list[str] = []
    names = names_of(overrides)
    for override, group in zip(overrides, names, strict=True):
        words.append(override)
        if not isinstance(composed.get(group), dict):
            continue
        file = CONFIGS / group / f"{override.partition('=')[2]}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        if content and content.pop("defaults", None):
            words[-1:] = [f"{path}=" for path in flattened({group: content})]
            continue
        named = tuple(f"{name}." for name in [*names, f"{group}.name"] if name != group)
        before, after = flattened({group: stored.get(group)}), flattened({group: composed[group]})
        lost = [
            f"{path}={json.dumps(after[path])}"
            for path in sorted(before.keys() & after.keys())
            if (before[path] or None) != (after[path] or None)
            and not f"{path}.".startswith(named)
            and not (path in DERIVED and after[path] is None)
        ]
        if lost:
            raise UsageError(
                f"{override} replaces all settings of {group}, but a resumed run keeps its own.\n"
                f"Leave it out, and name those that shall change: {' '.join(lost)}"
            )
    return words


def _check_trackers(stored: object, composed: object, run: Run) -> None:
    """Refuse stored trackers whose class or folder the user has not named.

    Those of this command and of ``configs/tracking`` are trusted, and so are paths in the current
    folder and in that of the run.
    """
    files = (CONFIGS / "tracking").glob("*.yaml")
    trees = [composed, *(yaml.safe_load(path.read_text(encoding="utf-8")) for path in files)]
    trusted = [value for tree in trees for value in flattened({"": tree}).values()]
    for path, value in flattened({"tracking": stored}).items():
        if not isinstance(value, str) or value in trusted:
            continue
        places = (Path.cwd(), run.folder.resolve())
        inside = any(Path(value).resolve().is_relative_to(place) for place in places)
        if path.endswith(TARGET) or not inside:
            raise UsageError(
                f"{run.settings_file} sets {path}={value}, which is used only if you name it.\n"
                f"If you trust it, add it to the command line: {path}={value}"
            )


def refer_to_split(data: dict[str, Any], files: Sequence[Path], overrides: Sequence[str]) -> None:
    """Let stored settings of data refer to the split that their training run has written.

    It is the first of ``files`` that exists. Overrides such as ``data.split_seed=1`` split anew.
    """
    file = next((path for path in files if path.is_file()), None)
    if any(name.startswith("data.split") for name in names_of(overrides)):
        data["split_file"] = None
    elif file is not None:
        data["split_file"] = str(file)


def names_of(overrides: Sequence[str]) -> list[str]:
    """Return the names in overrides, such as ``optimizer.lr`` in ``++optimizer.lr=0.1``."""
    return [override.lstrip("+~").split("=", 1)[0] for override in overrides]


def overridden(
    stored: Mapping[str, Any],
    composed: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    keep: Sequence[str] = (),
) -> dict[str, Any]:
    """Replace composed settings by stored ones, except where an override names a setting.

    A secret has been stored as ``***``, which the composed value replaces. The settings in ``keep``
    stay as they are stored also if an override names their group, such as ``data=shapes``. A preset
    of several groups, such as ``debug=fast``, is refused.
    """
    names = names_of(overrides)
    for name in names:
        if name not in composed and (CONFIGS / name).is_dir():
            raise UsageError(
                f"{name}=... changes many settings at once, but the stored settings are kept.\n"
                "Name the single settings to change instead, such as data.image_size=320."
            )
    tree = deepcopy({**composed, **stored})
    for path in [*_redacted(stored), *(name.split(".") for name in names)]:
        _replace(tree, path, composed)
    for name in {*keep} & flattened(stored).keys() - names:
        _replace(tree, name.split("."), stored)
    return tree


def _replace(tree: dict[str, Any], path: Sequence[str], source: Mapping[str, Any]) -> bool:
    """Replace a setting or a group by that of ``source``; return whether ``source`` has it."""
    *groups, key = path
    for group in groups:
        inner = source.get(group)
        source = inner if isinstance(inner, Mapping) else {}
        if not isinstance(tree.get(group), dict):
            tree[group] = {}
        tree = tree[group]
    tree.pop(key, None)
    if key in source:
        tree[key] = deepcopy(source[key])
    return key in source


def _redacted(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each value from which a secret was removed."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _redacted(value, (*path, key))
        elif REDACTED in str(value):
            yield (*path, key)
