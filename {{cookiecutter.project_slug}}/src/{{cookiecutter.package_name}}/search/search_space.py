"""The settings of ``tune``, and the search space from which Optuna proposes values."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from omegaconf import DictConfig, OmegaConf
from pydantic import Discriminator, Field, Tag, model_validator

from ..errors import UsageError
from ..settings.check_settings import Strict, flattened, problems, refuse, resolved
from ..settings.schema import Settings

if TYPE_CHECKING:
    from optuna import Trial


class Range(Strict):
    """Numbers from ``low`` to ``high``, both included."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _is_valid(self) -> Self:
        from optuna.distributions import FloatDistribution  # noqa: PLC0415 - `--help` is fast

        FloatDistribution(**self.model_dump())  # or a ValueError
        return self

    def is_integer(self, default: object) -> bool:
        """Return whether to propose integers for a setting with this default."""
        numbers = (self.low, self.high, self.step or 1)
        return not isinstance(default, float) and all(isinstance(number, int) for number in numbers)

    def examples(self, default: object) -> list[float]:
        """Return both bounds and a value between them; see ``is_integer``."""
        middle = min(self.high, self.low + (self.step or (self.high - self.low) / math.pi))
        return [self.low, self.high, int(middle) if self.is_integer(default) else middle]


def _kind(choice: object) -> str | None:
    """Return the kind of a choice, or None if it is neither a range nor a list of values."""
    if isinstance(choice, list):
        return "list" if len(choice) > 1 else None
    has_bounds = isinstance(choice, Mapping) and choice.keys() & Range.model_fields.keys()
    return "range" if has_bounds or isinstance(choice, Range) else None


Choice = Annotated[
    Annotated[Range, Tag("range")] | Annotated[list[Any], Tag("list")],
    Discriminator(_kind, "choice", "give a list of values, [a, b], or a range, {low: 1, high: 8}"),
]


class Search(Settings):
    """The settings of a training run, and of the search for better ones."""

    study: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*$",
        description="Name of the study; an existing study in runs/tune/<study> is continued.",
    )
    trials: int = Field(
        ge=1, description="Total number of trials, including those before a study is continued."
    )
    pruner: Literal["median", "hyperband"] | None = Field(
        description="Optuna's pruner, which stops bad trials early; null stops none."
    )
    storage: str | None = Field(
        description="URL of a database for a study that several machines share, which also need a "
        "shared folder of runs; null is an SQLite file for one machine."
    )
    space: dict[str, Choice] = Field(  # by path, such as optimizer.lr
        min_length=1,
        description="Settings to vary, each with a list of values or a range {low: 1, high: 8}, "
        "which may have log: true (logarithmic scale) or step: 2.",
    )

    @property
    def epochs(self) -> int:
        """The number of epochs of each trial; ``check_search`` refuses null."""
        return self.trainer.max_epochs or 1


SEARCH_SETTINGS = Search.model_fields.keys() - Settings.model_fields.keys()


def check_search(config: DictConfig, overrides: Sequence[str]) -> Search:
    """Check the settings of a search, and the values that its space can propose.

    Raises:
        UsageError: with all mistakes, a line for each, or if Optuna is not installed. Values of
            the space are checked when all other settings are right.
    """
    if find_spec("optuna") is None:
        raise UsageError(
            "tune needs the package optuna, which is not installed.\n"
            "Install it: uv sync --extra tune"
        )
    tree = resolved(config)
    if isinstance(tree.get("space"), dict):
        tree["space"] = _by_path(tree["space"])
    mistakes = problems(tree, Search)
    if tree.get("resume") is not None:
        mistakes.append(("resume", "is for train; tune continues the study of the same name"))
    if tree["trainer"].get("max_epochs", "") is None:
        mistakes.append(("trainer.max_epochs", "must be a number: all trials have as many epochs"))
    refuse(mistakes)
    settings = Search.model_validate(tree)
    given = {override.lstrip("+~").split("=", 1)[0] for override in overrides}
    training = {name: value for name, value in tree.items() if name not in SEARCH_SETTINGS}
    defaults = flattened(settings.model_dump())
    wrong: dict[tuple[str, str], None] = {}  # a mistake may belong to several values
    for key, choice in settings.space.items():
        reasons = []
        if key == "trainer.max_epochs":
            reasons.append("is one number for all trials: leave it out")
        if key in given:
            reasons.append(f"is also on the command line; remove it there, or add ~space.{key}")
        for value in choice if isinstance(choice, list) else choice.examples(defaults.get(key)):
            changed = OmegaConf.create(training)
            OmegaConf.update(changed, key, value, merge=False, force_add=True)
            reasons += [reason for _, reason in problems(resolved(changed), Settings)]
        wrong |= dict.fromkeys((f"space.{key}", reason) for reason in reasons)
    refuse([*wrong])
    return settings


def training_words(settings: Search, overrides: Sequence[str]) -> list[str]:
    """Return the overrides for all training runs: all but those of the search itself."""
    own = re.compile(rf"[+~]*({'|'.join(SEARCH_SETTINGS)}|runs)\b")
    words = [override.lstrip("+") for override in overrides if not own.match(override)]
    if not any(word.startswith("trainer.max_epochs=") for word in words):
        words.append(f"trainer.max_epochs={settings.epochs}")  # each trial has the same number
    return words


def _by_path(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the lists and ranges of a nested space by their paths, such as ``optimizer.lr``."""
    flat: dict[str, Any] = {}
    for name, value in space.items():
        inner = value.values() if isinstance(value, Mapping) else ()
        is_group = any(isinstance(item, Mapping | list) for item in inner)
        path = f"{prefix}{name}"
        flat |= _by_path(value, f"{path}.") if is_group else {path: value}
    return flat


def suggest(trial: "Trial", settings: Search) -> list[str]:
    """Let Optuna propose a value for each setting, as on the command line of ``train``."""
    defaults = flattened(settings.model_dump())
    words: list[str] = []
    for key, choice in settings.space.items():
        if isinstance(choice, list):
            text = trial.suggest_categorical(key, [hydra_value(value) for value in choice])
        elif choice.is_integer(defaults.get(key)):
            low, high, step = map(int, (choice.low, choice.high, choice.step or 1))
            text = hydra_value(trial.suggest_int(key, low, high, step=step, log=choice.log))
        else:
            text = hydra_value(trial.suggest_float(key, **choice.model_dump()))
        words.append(f"{key}={text}")
    return words


def hydra_value(value: object) -> str:
    """Return a value as text that Hydra reads as this value on a command line."""
    is_plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    if is_plain and str(value).lower() not in {"true", "false", "null", "nan", "inf"}:
        return str(value)
    return json.dumps(value, ensure_ascii=False)
