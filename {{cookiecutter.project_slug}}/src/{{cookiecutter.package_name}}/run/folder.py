"""The folder of a run: its files, the search for a run to resume, and reading metrics."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from ..errors import UsageError
from .environment import environment, masked, without_secrets
from .files import write_json, write_text


@dataclass(frozen=True)
class Run:
    """A run of a command, identified by its folder ``runs/<run id>``."""

    folder: Path

    @property
    def id(self) -> str:
        """The name of the folder, which identifies the run everywhere."""
        return self.folder.name

    @property
    def settings_file(self) -> Path:
        """The settings of the run, with all interpolations resolved."""
        return self.folder / "config.yaml"

    @property
    def best(self) -> Path:
        """The checkpoint with the best validation score."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def metrics(self) -> Path:
        """All logged metrics, one row for each step at which something was logged."""
        return self.folder / "metrics.csv"

    @property
    def results(self) -> Path:
        """The test metrics. A run that has this file is finished."""
        return self.folder / "metrics.json"

    @property
    def failure(self) -> Path:
        """The reason why the run has failed, if it has."""
        return self.folder / "failure.txt"

    @property
    def settings(self) -> dict[str, Any]:
        """The stored settings as plain values.

        Text such as ``${oc.env:NAME}`` is returned unchanged: a file must not read environment
        variables.

        Raises:
            UsageError: if the file is missing or does not hold a mapping.
        """
        try:
            tree = yaml.safe_load(self.settings_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{self.settings_file} cannot be read: {error}") from error
        if not isinstance(tree, dict):
            raise UsageError(f"{self.settings_file} does not hold the settings of a run.")
        return tree

    def create(self, settings: BaseModel) -> None:
        """Make the folder, and write settings and environment of the run without secrets."""
        (self.folder / "predictions").mkdir(parents=True, exist_ok=True)
        tree = masked(settings.model_dump(mode="json", by_alias=True))
        write_text(self.settings_file, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        write_json(self.folder / "environment.json", environment())
        self.results.unlink(missing_ok=True)  # a resumed run is no longer finished
        self.failure.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Write the reason of a failure to ``failure.txt``, without secrets."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.failure, without_secrets(f"{reason}\n"))


def find_run(runs: Path, which: str) -> Run:
    """Return the training to resume.

    Args:
        runs: the folder of all runs.
        which: a run id, or ``auto`` for the newest training that is not finished.

    Raises:
        UsageError: if there is no such run, or it has no checkpoint.
    """
    resumable = [run for run in map(Run, sorted(runs.glob("*"))) if run.last.is_file()]
    if which != "auto":
        run = Run(runs / which)
        if run not in resumable:
            newest = ", ".join(candidate.id for candidate in resumable[-5:])
            raise UsageError(
                f"resume={which}: there is no checkpoint {run.last}.\n"
                f"The newest runs with a checkpoint: {newest or 'none'}."
            )
        return run
    unfinished = [run for run in resumable if not run.results.exists()]
    if not unfinished:
        raise UsageError(
            f"resume=auto: there is no unfinished run with a checkpoint in {runs}/.\n"
            "Start a new run without resume, or continue a finished run by its id:\n"
            "  resume=<run id> trainer.max_epochs=20"
        )
    return unfinished[-1]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``metrics.csv`` as numbers without empty cells; no rows without a file."""
    return [{name: float(value) for name, value in row.items()} for row in read_rows(path)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` as text, without an incomplete last line."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(whole)]
