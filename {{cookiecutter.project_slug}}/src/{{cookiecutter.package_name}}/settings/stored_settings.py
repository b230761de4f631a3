"""Update the settings that a run or a checkpoint has stored, and override some of them."""

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from pydantic import BaseModel

from ..errors import UsageError
from ..run.environment import REDACTED
from .check_settings import flattened, location, resolved, validation_errors

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parents[1] / "configs"
# Values of settings that older versions lacked, where today's defaults would change their results.
FORMER_VALUES = {"data.fit": "{{ 'crop' if cookiecutter.task == 'classification' else 'stretch' }}"}


def completed(tree: Mapping[str, Any], model: type[BaseModel], *, source: object) -> dict[str, Any]:
    """Convert settings that an earlier version of this project has stored to the current form.

    A setting that the tree lacks gets its value in ``FORMER_VALUES`` or the current default; a
    setting that no longer exists is left out. Both are logged, unless ``source`` is None, which is
    the file that holds the tree.
    """
    complete = copy.deepcopy(dict(tree))
    # ~ if cookiecutter.task == "classification"
    data, fractions = complete.get("data"), ("val_fraction", "test_fraction")
    if isinstance(data, dict) and all(isinstance(data.get(key), float) for key in fractions):
        val, test = (data.pop(key) for key in fractions)  # split has superseded them
        data["split"] = [1 - val - test, val, test]
    # ~ endif
    errors = validation_errors(complete, model)
    defaults = _defaults(tree) if errors else {}
    added, removed = [], []
    for details in errors:
        *parents, key = location(details)
        path, group = ".".join([*parents, key]), _select(complete, parents)
        if details["type"] == "extra_forbidden":
            del group[key]
            removed.append(path)
        elif details["type"] == "missing":
            default = _select(defaults, parents)
            if key in default:
                group[key] = default[key]
                note = f"{default[key]}, as before" if path in FORMER_VALUES else "default"
                added.append(f"{path} ({note})")
        elif path.startswith("tracking"):  # of a tracker that no longer exists
            complete["tracking"] = defaults["tracking"]
            removed.append(path)
    if added and source is not None:
        log.info("%s lacks settings, which are added: %s.", source, ", ".join(added))
    if removed and source is not None:
        log.info("%s has settings that no longer exist: %s.", source, ", ".join(removed))
    return complete


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
    stay as they are stored also if an override names their group, such as ``data=shapes``.

    Raises:
        UsageError: if the command line names a preset of several groups, such as ``debug=fast``.
    """
    names = names_of(overrides)
    for name in names:
        if name not in composed and (CONFIGS / name).is_dir():
            raise UsageError(
                f"{name}=... changes many settings at once, but the stored settings are kept.\n"
                "Name the single settings to change instead, such as data.image_size=320."
            )
    tree: dict[str, Any] = copy.deepcopy({**composed, **stored})
    redacted = [path for path, value in flattened(stored).items() if REDACTED in str(value)]
    for path in [*redacted, *names]:
        _copy(path, composed, tree)
    for path in keep:
        *parents, key = path.split(".")
        if path not in names and key in _select(stored, parents):
            _copy(path, stored, tree)
    return tree


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


def _select(tree: Any, keys: Sequence[str]) -> dict[str, Any]:
    """Return the group of settings that the keys lead to; an empty mapping if there is none."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, dict) else {}


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
