"""The settings of a resumed run: its own, except where the command line names others."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from ..errors import UsageError
from ..run.folder import Run
from .check_settings import check, flattened, resolved
from .schema import Settings
from .stored_settings import CONFIGS, completed, names_of, overridden, refer_to_split
from .tracking import TARGET

# The settings that determine the form of the optimiser's state.
# ~ if cookiecutter.scope == "complete"
UNCHANGEABLE = ("optimizer.name", "optimizer.backbone_lr", "optimizer.layer_decay", "model.freeze")


# ~ else
UNCHANGEABLE = ("optimizer.name",)


# ~ endif
def resumed_settings(run: Run, config: DictConfig, overrides: Sequence[str]) -> Settings:
    """Return the settings of a run that is resumed, given the config of the command.

    Raises:
        UsageError: if the settings are wrong, do not fit the checkpoint or cannot be trusted.
    """
    stored, composed = completed(run.settings, Settings, source=run.settings_file), resolved(config)
    overrides = without_presets(overrides, stored, composed)
    refer_to_split(stored["data"], [run.split], overrides)
    tree = overridden(stored, composed, overrides)
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
    ``trainer.accelerator``. Any other preset names its whole group.

    Raises:
        UsageError: if a preset would change a setting that the command line does not name.
    """
    words: list[str] = []
    names = names_of(overrides)
    for override, group in zip(overrides, names, strict=True):
        if not isinstance(composed.get(group), dict):
            words.append(override)
            continue
        file = CONFIGS / group / f"{override.partition('=')[2]}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
        if content and content.pop("defaults", None):
            words += [f"{path}=" for path in flattened({group: content})]
            continue
        words.append(override)
        named = tuple(f"{name}." for name in [*names, f"{group}.name"] if name != group)
        before, after = flattened({group: stored.get(group)}), flattened({group: composed[group]})
        lost = [
            f"{path}={json.dumps(after[path])}"
            for path in sorted(before.keys() & after.keys())
            if before[path] != after[path] and not f"{path}.".startswith(named)
        ]
        if lost:
            raise UsageError(
                f"{override} replaces all settings of {group}, but a resumed run keeps its own.\n"
                f"Leave it out, and name those that shall change: {' '.join(lost)}"
            )
    return words


def _check_trackers(stored: object, composed: object, run: Run) -> None:
    """Check that stored trackers build no class and write to no folder that the user has not named.

    The classes and paths of this command and of ``configs/tracking`` are trusted. Other paths must
    lead into the current folder or that of the run.
    """
    files = (CONFIGS / "tracking").glob("*.yaml")
    trees = [composed, *(yaml.safe_load(path.read_text(encoding="utf-8")) for path in files)]
    trusted = [value for tree in trees for value in flattened({"": tree}).values()]
    places = (Path.cwd(), run.folder.resolve())
    for path, value in flattened({"tracking": stored}).items():
        if not isinstance(value, str) or value in trusted:
            continue
        inside = any(Path(value).resolve().is_relative_to(place) for place in places)
        if path.endswith(TARGET) or not inside:
            raise UsageError(
                f"{run.settings_file} sets {path}={value}, which is used only if you name it.\n"
                f"If you trust it, add it to the command line: {path}={value}"
            )
