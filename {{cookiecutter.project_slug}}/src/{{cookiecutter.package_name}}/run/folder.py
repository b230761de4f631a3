"""The folder of a run: its files, the search for a run to resume, and reading metrics."""

import csv
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, cast

import yaml
from pydantic import BaseModel

from ..errors import UsageError
from .atomic_files import remove_leftovers, replacing, write_json, write_text
from .environment import environment, redacted, without_secrets


@dataclass
class Run:
    """A run of a command, identified by its folder ``runs/<run id>``."""

    folder: Path

    # For each run folder that this process writes into: the former content of the files that it has
    # replaced there, or None for a new file. It is emptied after the first training step.
    replaced_files: ClassVar[dict[Path, dict[Path, bytes | None]]] = {}

    def __post_init__(self) -> None:
        self.id = self.folder.name  # identifies the run everywhere
        self.settings_file = self.folder / "config.yaml"  # with all interpolations resolved
        self.record_file = self.folder / "environment.json"  # of the last start
        self.best = self.folder / "checkpoints" / "best.ckpt"  # of the best validation score
        self.last = self.folder / "checkpoints" / "last.ckpt"  # the newest
        self.metrics = self.folder / "metrics.csv"  # a row each time metrics are logged
        self.split = self.folder / "split.csv"  # if the data have no splits of their own
        self.results = self.folder / "metrics.json"  # of the test; the run is then finished
        self.failure = self.folder / "failure.txt"  # the reason why the run has failed, if it has

    # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
    @property
    def best_threshold(self) -> float | None:
        """The score threshold with the highest F1 in the test, from ``metrics.json``."""
        try:
            best = json.loads(self.results.read_text(encoding="utf-8"))["best_threshold"]
        except (OSError, ValueError, KeyError, TypeError):  # not tested yet, or damaged
            return None
        return best if isinstance(best, float) and 0 <= best < 1 else None

    # ~ endif
    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints that exist; training is resumed from the first."""
        return [path for path in (self.last, self.best) if path.is_file()]

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``environment.json``; empty if the file is missing or damaged."""
        try:
            record = json.loads(self.record_file.read_text(encoding="utf-8"))
            datetime.fromisoformat(record["started"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return cast("dict[str, Any]", record)

    @property
    def started(self) -> datetime:
        """The time of the last start; without a record of it, that of the folder."""
        if record := self.record:
            return datetime.fromisoformat(record["started"]).astimezone()
        return datetime.fromtimestamp(self.folder.stat().st_mtime).astimezone()

    @property
    def settings(self) -> dict[str, Any]:
        """The stored settings as plain values; text such as ``${oc.env:NAME}`` stays as it is."""
        try:
            tree = yaml.safe_load(self.settings_file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{self.settings_file} cannot be read: {error}") from error
        if not isinstance(tree, dict):
            raise UsageError(f"{self.settings_file} does not hold the settings of a run.")
        return tree

    def create(self, settings: BaseModel) -> None:
        """Write settings and environment of the run without secrets.

        For a run with checkpoints, ``restore`` can undo this until its old results are removed.
        """
        files = (self.settings_file, self.record_file, self.split)
        self.replaced_files[self.folder] = {
            path: path.read_bytes() if path.is_file() else None for path in files
        }
        if not self.checkpoints:
            self.remove_old_results()
        remove_leftovers(self.folder)
        self.write_settings(settings)
        record, earlier = environment(), self.record
        if self.checkpoints and earlier:
            last = {key: earlier.get(key) for key in ("started", "command", "git_commit")}
            record["earlier_starts"] = [*earlier.get("earlier_starts", []), last]
        write_json(self.record_file, record)

    def remove_old_results(self) -> None:
        """Remove the results of a run that is continued: it is neither finished nor failed now."""
        if self.replaced_files.get(self.folder):
            self.replaced_files[self.folder] = {}
            self.results.unlink(missing_ok=True)
            self.failure.unlink(missing_ok=True)

    def restore(self) -> bool:
        """Undo ``create``, unless old results were removed since; return whether it was undone."""
        earlier = self.replaced_files.get(self.folder, {})
        for path, content in earlier.items():
            if content is None:
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError), replacing(path) as hidden:  # the disk may be full
                hidden.write_bytes(content)
        return bool(earlier)

    def write_settings(self, settings: BaseModel) -> None:
        """Write the settings without secrets."""
        tree = redacted(settings.model_dump(mode="json", by_alias=True))
        write_text(self.settings_file, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))

    def fail(self, reason: str) -> None:
        """Write the reason of a failure to ``failure.txt``, without secrets."""
        write_text(self.failure, without_secrets(f"{reason}\n"))

    def remove_if_unused(self) -> bool:
        """Remove the folder if it holds no results, and return whether it was removed."""
        written = set(self.folder.iterdir())
        if not written <= {self.settings_file, self.record_file, self.split}:
            return False
        for path in written:
            path.unlink()
        self.folder.rmdir()
        return True


def find_run(runs: Path, which: str) -> Run:
    """Return the run with an id or, for ``auto``, the unfinished one that was started last."""
    started = [run for run in map(Run, runs.glob("*")) if run.checkpoints]
    resumable = sorted(started, key=lambda run: (run.started, run.id))
    if which != "auto":
        if (run := Run(runs / which)) in resumable:
            return run
        newest = ", ".join(candidate.id for candidate in resumable[-5:])
        raise UsageError(
            f"resume={which}: there is no checkpoint in {run.last.parent}/.\n"
            f"The newest runs with a checkpoint: {newest or 'none'}."
        )
    unfinished = [run for run in resumable if not run.results.exists()]
    if not unfinished:
        raise UsageError(
            f"resume=auto: there is no unfinished run with a checkpoint in {runs}/.\n"
            "Start a new run without resume, or continue a finished run by its id:\n"
            "  resume=RUN_ID trainer.max_epochs=20"
        )
    return unfinished[-1]


# ~ if cookiecutter.scope == "complete"
def find_checkpoint(runs: Path, name: str) -> Path:
    """Return the checkpoint of a name, which is a file, a run id or the path of a run folder."""
    run, other = Run(runs / name), Run(Path(name))
    for path in (Path(name), run.best, run.last, other.best, other.last):
        if path.is_file():
            return path
    raise UsageError(f"{name} is neither a checkpoint nor a run with a checkpoint in {runs}/.")


# ~ endif
def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``metrics.csv`` as numbers without empty cells; no rows without a file."""
    try:
        rows = [{name: float(value) for name, value in row.items()} for row in read_rows(path)]
        if not all("step" in row for row in rows):
            raise ValueError("a row has no step")
    except (ValueError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{path} is damaged: {error}.\n"
            "Repair it, or move it away: a resumed training run then begins a new file."
        ) from error
    return rows


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` as text, without an incomplete last line."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(whole)]
