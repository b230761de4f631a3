"""Update the settings that a run or a checkpoint has stored, and override some of them."""

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from pydantic import BaseModel

from ..errors import UsageError
from ..run.environment import REDACTED
from .check_settings import flattened, location, resolved, validation_errors
from .tracking import TARGET

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[1] / "configs"
# How versions without a setting behaved, where the current default would change their results.
FORMER_VALUES = {"data.fit": "{{ 'crop' if cookiecutter.task == 'classification' else 'stretch' }}"}
# The settings that determine the form of the optimiser's state.
# ~ if cookiecutter.scope == "complete"
UNCHANGEABLE = (
    "optimizer.name",
    "optimizer.backbone_lr",
    "optimizer.layer_decay",
    "model.freeze",
)


# ~ else
UNCHANGEABLE = ("optimizer.name",)


# ~ endif
def completed(tree: Mapping[str, Any], model: type[BaseModel], *, source: object) -> dict[str, Any]:
    """Convert settings that an earlier version of this project has stored to the current form.

    A setting that the tree lacks gets the value of ``FORMER_VALUES`` or the current default, and a
    setting that no longer exists is left out. The log names these settings.

    Args:
        tree: the stored settings.
        model: the current settings.
        source: the file that holds the tree, for the log; with None nothing is logged.
    """
    complete = copy.deepcopy(dict(tree))
    # ~ if cookiecutter.task == "classification"
    _replace_fractions(complete.get("data"))
    # ~ endif
    defaults: dict[str, Any] | None = None
    added, removed = [], []
    for details in validation_errors(complete, model):
        *parents, key = location(details)
        path, group = ".".join([*parents, key]), _select(complete, parents)
        if details["type"] == "extra_forbidden":
            del group[key]
            removed.append(path)
        elif details["type"] == "missing" and path in FORMER_VALUES:
            group[key] = FORMER_VALUES[path]
            if source is not None:
                words = (source, path, FORMER_VALUES[path])
                log.info("%s was written before %s existed: %s is used.", *words)
        elif details["type"] == "missing":
            defaults = defaults or _defaults(tree)
            default = _select(defaults, parents)
            if key in default:
                group[key] = default[key]
                added.append(path)
        elif location(details)[0] == "tracking":  # of a tracker that no longer exists
            defaults = defaults or _defaults(tree)
            complete["tracking"] = defaults["tracking"]
            removed.append(path)
    if added and source is not None:
        log.info("%s lacks %s: the current defaults are used.", source, ", ".join(added))
    if removed and source is not None:
        log.info("%s sets %s, which no longer exists.", source, ", ".join(removed))
    return complete


# ~ if cookiecutter.task == "classification"
def _replace_fractions(data: Any) -> None:
    """Replace ``val_fraction`` and ``test_fraction``, which ``split`` has superseded."""
    fractions = ("val_fraction", "test_fraction")
    if isinstance(data, dict) and all(isinstance(data.get(key), float) for key in fractions):
        val, test = (data.pop(key) for key in fractions)
        data["split"] = [1 - val - test, val, test]


# ~ endif
def refer_to_split(data: dict[str, Any], files: Sequence[Path], overrides: Sequence[str]) -> None:
    """Let stored settings of data refer to the split that their training run has written.

    Args:
        data: the stored settings, which are changed.
        files: the places where the file may be; the first that exists is used.
        overrides: the command-line overrides; ``data.split=...`` and the like split anew.
    """
    file = next((path for path in files if path.is_file()), None)
    if any(word.lstrip("+").startswith("data.split") for word in overrides):
        data["split_file"] = None
    elif file is not None:
        data["split_file"] = str(file)


def _defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults, with the presets that the tree names, such as ``data=shapes``."""
    names = {group: part.get("name") for group, part in tree.items() if isinstance(part, dict)}
    words = [f"{group}={name}" for group, name in names.items() if _is_preset(group, name)]
    if GlobalHydra.instance().is_initialized():
        return resolved(compose("train", words))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return resolved(compose("train", words))


def _is_preset(group: str, name: object) -> bool:
    # A stored name such as ../x must not lead to a file elsewhere.
    return f"{group}{name}".isidentifier() and (CONFIGS / group / f"{name}.yaml").is_file()


def _select(tree: Any, keys: Sequence[str]) -> dict[str, Any]:
    """Return the group of settings that the keys lead to; an empty mapping if there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, dict) else {}


def overridden(
    stored: Mapping[str, Any],
    composed: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    keep: Sequence[str] = (),
) -> dict[str, Any]:
    """Replace composed settings by stored ones, except where the command line names a setting.

    A secret has been stored as ``***``, which the composed value replaces.

    Args:
        stored: groups of settings that take the place of the composed ones.
        composed: all settings of this command, with the overrides applied.
        overrides: the command-line overrides, such as ``optimizer.lr=0.1`` or ``data=shapes``.
        keep: settings whose stored values remain if the command line names only their group, as
            ``data=shapes`` does.

    Raises:
        UsageError: if the command line names a preset of several groups, such as ``debug=fast``.
    """
    keys = [override.lstrip("+~").split("=", 1)[0] for override in overrides]
    for key in keys:
        if key not in composed and (CONFIGS / key).is_dir():
            raise UsageError(
                f"{key}=... changes many settings at once, but a checkpoint keeps its own.\n"
                "Name the single settings to change instead, such as trainer.max_epochs=20."
            )
    tree: dict[str, Any] = copy.deepcopy({**composed, **stored})
    redacted = [path for path, value in flattened(stored).items() if REDACTED in str(value)]
    for key in [*redacted, *keys]:
        _copy(key, composed, tree)
    for path in keep:
        *parents, key = path.split(".")
        if path not in keys and key in _select(stored, parents):
            _copy(path, stored, tree)
    return tree


def check_trackers(stored: object, composed: object, *, source: Path, folder: Path) -> None:
    """Check that stored trackers build no class and write to no folder that the user has not named.

    Args:
        stored: the trackers that a run has stored.
        composed: the trackers of this command, which are trusted, like those of ``configs/``.
        source: the file that holds ``stored``, for the message.
        folder: the folder of the run; paths lead into it, or into the current folder.

    Raises:
        UsageError: for another class, or a path that leads elsewhere.
    """
    files = (CONFIGS / "tracking").glob("*.yaml")
    presets = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    trusted = {
        repr(value) for tree in (composed, *presets) for value in flattened({"": tree}).values()
    }
    for path, value in flattened({"tracking": stored}).items():
        if not isinstance(value, str) or repr(value) in trusted:
            continue
        places = (Path.cwd(), folder.resolve())
        inside = any(Path(value).resolve().is_relative_to(place) for place in places)
        if path.endswith(TARGET) or not inside:
            raise UsageError(
                f"{source} sets {path}={value}, which is used only if you name it.\n"
                f"If you trust it, add it to the command line: {path}={value}"
            )


def without_presets(
    overrides: Sequence[str], stored: Mapping[str, Any], composed: Mapping[str, Any]
) -> list[str]:
    """Replace presets by the settings that they name, so that a resumed run keeps all others.

    A preset that builds on another one names the settings in its own file: ``trainer=cpu`` is
    ``trainer.accelerator``. Any other preset names its whole group.

    Args:
        overrides: the command-line overrides.
        stored: the settings of the run.
        composed: all settings of this command, with the overrides applied.

    Raises:
        UsageError: if a preset would change a setting that the command line does not name.
    """
    words: list[str] = []
    named = [override.lstrip("+~").split("=", 1)[0] for override in overrides]
    for override in overrides:
        group, _, preset = override.lstrip("+~").partition("=")
        if not isinstance(composed.get(group), dict):
            words.append(override)
            continue
        file = CONFIGS / group / f"{preset}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        if content and "defaults" in content:
            del content["defaults"]
            words += [f"{path}=" for path in flattened({group: content})]
            continue
        words.append(override)
        before, after = flattened({group: stored.get(group)}), flattened({group: composed[group]})
        named_paths = tuple(f"{key}." for key in [*named, f"{group}.name"] if key != group)
        lost = [
            f"  {path}: {json.dumps(before[path])} -> {json.dumps(after[path])}"
            for path in sorted(before.keys() & after.keys())
            if before[path] != after[path] and not f"{path}.".startswith(named_paths)
        ]
        if lost:
            raise UsageError(
                f"{group}={preset} replaces all settings of {group}, but a resumed run keeps "
                "its settings. These would change:\n"
                + "\n".join(lost)
                + f"\nInstead of {group}={preset}, name the settings to change, such as "
                f"{lost[0].split(':')[0].strip()}=<value>."
            )
    return words


def check_same_optimizer(stored: Mapping[str, Any], tree: Mapping[str, Any]) -> None:
    """Check that the settings of a resumed run fit the state of the optimiser in its checkpoint.

    Raises:
        UsageError: if one of ``UNCHANGEABLE`` has another value.
    """
    before, after = flattened(stored), flattened(tree)
    for path in UNCHANGEABLE:
        if before[path] != after[path]:
            raise UsageError(
                f"{path}={after[path]} cannot be changed when a run is resumed, since the state of "
                # ~ if cookiecutter.scope == "complete"
                "the optimiser would not fit. Leave it out, or start a new run from the same "
                "weights: init=RUN_ID"
                # ~ else
                "the optimiser would not fit. Leave it out, or start a new training run."
                # ~ endif
            )


def _copy(path: str, source: Mapping[str, Any], target: dict[str, Any]) -> None:
    """Copy the value at a dotted path; a value that the source lacks is deleted."""
    *parents, key = path.split(".")
    origin = _select(source, parents)
    for parent in parents:
        if not isinstance(target.get(parent), dict):
            target[parent] = {}
        target = target[parent]
    if key in origin:
        target[key] = copy.deepcopy(origin[key])
    else:
        target.pop(key, None)
