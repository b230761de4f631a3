"""A run's identity and its folder, known before anything else starts."""

import csv
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from ..errors import UsageError
from .environment import environment, without_secrets
from .files import write_json, write_text


@dataclass(frozen=True)
class Run:
    """The folder of a run; the run's id is its name."""

    folder: Path

    @property
    def id(self) -> str:
        """What names the run everywhere."""
        return self.folder.name

    @property
    def settings_file(self) -> Path:
        """The settings as they were resolved."""
        return self.folder / "config.yaml"

    @property
    def settings(self) -> DictConfig:
        """The stored settings."""
        return DictConfig(OmegaConf.load(self.settings_file))

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
        """Every metric as it came, a row for each time that some were logged."""
        return self.folder / "metrics.csv"

    @property
    def results(self) -> Path:
        """The test metrics; a run that has them is finished."""
        return self.folder / "metrics.json"

    @property
    def failure(self) -> Path:
        """Why the run failed, if it did."""
        return self.folder / "failure.txt"

    def create(self, settings: BaseModel) -> None:
        """Make the folder, and write down what is about to run and on what."""
        (self.folder / "predictions").mkdir(parents=True, exist_ok=True)
        tree = settings.model_dump(mode="json", by_alias=True)
        write_text(self.settings_file, OmegaConf.to_yaml(OmegaConf.create(tree)))
        write_json(self.folder / "environment.json", environment())
        self.failure.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Write down why the run failed, without secrets."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.failure, without_secrets(f"{reason}\n"))


def find_run(runs: Path, which: str) -> Run:
    """Find the training to resume.

    Args:
        runs: the folder of all runs.
        which: a run id, or ``auto`` for the newest training that has not ended.

    Raises:
        UsageError: if there is no such run, or nothing to continue in it.
    """
    if which != "auto":
        run = Run(runs / which)
        if not run.last.is_file():
            newest = [other.id for other in _with_checkpoint(runs)[-5:]]
            raise UsageError(
                f"resume={which}: there is no checkpoint {run.last}.\n"
                f"The newest runs that have one: {', '.join(newest) or 'none'}."
            )
        return run
    open_runs = [run for run in _with_checkpoint(runs) if not run.results.exists()]
    if not open_runs:
        raise UsageError(
            f"resume=auto: no unfinished run with a checkpoint in {runs}/.\n"
            "Start a new one without resume, or continue a finished one by its id:\n"
            "  resume=<run id> trainer.max_epochs=20"
        )
    return open_runs[-1]


def _with_checkpoint(runs: Path) -> list[Run]:
    return [run for run in map(Run, sorted(runs.glob("*"))) if run.last.is_file()]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file, each with the metrics it has; none if there is no file."""
    return [{name: float(value) for name, value in row.items()} for row in read_rows(path)]


def read_rows(path: Path) -> list[dict[str, str]]:
    """The same rows as they were written; a line that is not whole yet is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(whole)]
