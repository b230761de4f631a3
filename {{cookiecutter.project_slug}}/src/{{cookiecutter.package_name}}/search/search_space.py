"""What a search may vary; all that is wrong with it is told before the first trial."""

import copy
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from omegaconf import DictConfig
from pydantic import Field, field_validator, model_validator

from ..settings.check import Strict, flattened, problems, refuse, resolved
from ..settings.tree import Settings

if TYPE_CHECKING:
    from optuna import Trial

SHAPES = "say what to choose from, [a, b], or a range, {low: 1, high: 8}"


class Range(Strict):
    """Numbers between two bounds, which are included."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError("log: true needs a low above 0, and no step")
        steps = (self.high - self.low) / (self.step or 1)
        if self.step and not math.isclose(steps, round(steps)):
            raise ValueError("step does not lead from low to high")
        return self

    def is_whole(self, usual: object) -> bool:
        """Whether to propose whole numbers, for a setting that usually has this value."""
        numbers = (self.low, self.high, self.step or 1)
        return not isinstance(usual, float) and all(isinstance(one, int) for one in numbers)

    def examples(self, usual: object) -> list[float]:
        """Both bounds, and a number between them that is a fraction if any is."""
        inside = self.low + (self.step or (self.high - self.low) / math.pi)
        return [self.low, self.high, int(inside) if self.is_whole(usual) else inside]


class Search(Settings):
    """A training's settings, and how to search for better ones."""

    study: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    trials: int = Field(ge=1)
    pruner: Literal["median", "hyperband"] | None
    space: dict[str, Range | list[Any]] = Field(min_length=1)

    @field_validator("resume")
    @classmethod
    def _by_its_study(cls, resume: str | None) -> None:
        if resume is not None:
            raise ValueError("is for a training; a search goes on when its study is named again")

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: object) -> object:
        return leaves(space) if isinstance(space, Mapping) else space


def leaves(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The lists and ranges of a nested space by their paths, such as ``optimizer.lr``."""
    flat: dict[str, Any] = {}
    for name, value in space.items():
        path = f"{prefix}{name}"
        inner = isinstance(value, Mapping) and any(
            isinstance(one, Mapping | list) for one in value.values()
        )
        flat |= leaves(value, f"{path}.") if inner else {path: value}
    return flat


def check_search(config: DictConfig, overrides: Sequence[str]) -> Search:
    """Check the settings, and that each of them can have each value of its space.

    Args:
        config: as composed.
        overrides: of the command line.

    Raises:
        UsageError: with all that is wrong, a line for each.
    """
    tree = resolved(config)
    base = {name: value for name, value in tree.items() if name not in OWN}
    known = problems(base, Settings)
    usual = flattened(base if known else Settings.model_validate(base).model_dump())
    found = [one for one in problems(tree, Search) if not one[0].startswith("space.")]
    given = {override.lstrip("+~").split("=", 1)[0] for override in overrides}
    space = tree.get("space")
    for key, leaf in leaves(space if isinstance(space, dict) else {}).items():
        of_leaf = _of_leaf(leaf)
        if key in given:
            of_leaf.append(("", f"is given on the command line, too; leave it, or ~space.{key}"))
        if not of_leaf:
            values = leaf if isinstance(leaf, list) else Range(**leaf).examples(usual.get(key))
            for value in values:
                changed = problems(_changed(base, key, value), Settings)
                of_leaf += [("", reason) for path, reason in changed if (path, reason) not in known]
        found += [
            (f"space.{key}.{end}".rstrip("."), reason) for end, reason in dict.fromkeys(of_leaf)
        ]
    refuse(found)
    return Search.model_validate(tree)


OWN = Search.model_fields.keys() - Settings.model_fields.keys()


def _of_leaf(leaf: object) -> list[tuple[str, str]]:
    if isinstance(leaf, Mapping) and leaf.keys() & Range.model_fields.keys():
        return problems(leaf, Range)
    return [] if isinstance(leaf, list) and len(leaf) > 1 else [("", f"is {leaf!r}: {SHAPES}")]


def _changed(tree: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    *parents, last = key.split(".")
    node = changed
    for name in parents:
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]
    node[last] = value
    return changed


def suggest(trial: "Trial", settings: Search) -> dict[str, str]:
    """Let the sampler choose from the space.

    Returns:
        By path, what ``train`` is to be told.
    """
    usual = flattened(settings.model_dump())
    chosen: dict[str, str] = {}
    for key, leaf in settings.space.items():
        if isinstance(leaf, list):
            chosen[key] = trial.suggest_categorical(key, [word(value) for value in leaf])
        elif leaf.is_whole(usual.get(key)):
            step = int(leaf.step or 1)
            chosen[key] = word(
                trial.suggest_int(key, int(leaf.low), int(leaf.high), log=leaf.log, step=step)
            )
        else:
            chosen[key] = word(
                trial.suggest_float(key, leaf.low, leaf.high, log=leaf.log, step=leaf.step)
            )
    return chosen


def word(value: object) -> str:
    """A value as Hydra reads it on a command line."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    if plain and str(value).lower() not in {"true", "false", "null", "nan", "inf"}:
        return str(value)
    return json.dumps(value, ensure_ascii=False)
