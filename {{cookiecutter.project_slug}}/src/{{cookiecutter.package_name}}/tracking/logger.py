"""Lightning's logger for W&B, with an offline fallback.

Errors of W&B do not stop a training: it continues without an account, and when the network or the
server fails.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ..run.environment import redacted, without_secrets
from ..run.folder import Run, read_rows
from .client import HOW_TO_UPLOAD, has_key, package, reason, say, wandb_command
from .settings import Mode, WandbSettings

log = logging.getLogger(__name__)


class RunLogger(WandbLogger):
    """The logger of a W&B run, whose id is the name of the run folder."""

    def __init__(
        self, tracking: WandbSettings, mode: Mode, run: Run, job: str, config: dict[str, Any]
    ) -> None:
        self.tracking = tracking
        self.run = run
        self.model_metadata: dict[str, Any] = {}  # of the artifacts of models
        self.artifacts: list[dict[str, Any]] = []  # see ``artifacts.log_files``
        self.failures: set[str] = set()
        self.logged = metrics_logged(run)  # a resumed training repeats the steps after a checkpoint
        super().__init__(
            name=redacted(tracking.name) or run.id,
            id=run.id,
            resume="allow",
            save_dir=run.folder,
            job_type=tracking.job_type or job,
            mode=mode,
            config=config,
            settings=self.wandb.Settings(
                **tracking.model_dump(include={"init_timeout", "finish_timeout"}), silent=True
            ),
            **redacted(
                tracking.model_dump(include={"project", "entity", "group", "tags", "notes"})
            ),
        )
        with redacted_command_line():
            _ = self.experiment  # starts the run, or raises; a dummy in processes of rank 1 and up
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk each line of wandb's own log would print a traceback.
            handler.handleError = lambda record: None  # type: ignore[method-assign] # noqa: ARG005
        if self.logged:
            self._log_missing_rows()

    def _log_missing_rows(self) -> None:
        """Log the rows of ``metrics.csv`` that W&B had not yet written when it was killed."""
        for row in read_rows(self.run.metrics):
            step = int(row.pop("step"))
            values = {name: float(value) for name, value in row.items()}
            self.log_metrics(values | {"epoch": int(row["epoch"])}, step)
            self.logged |= {(step, name) for name in row}

    @property
    def wandb(self) -> ModuleType:
        """The package ``wandb``."""
        return package()

    @property
    def offline(self) -> bool:
        """Whether the run is recorded for a later upload."""
        return bool(self.experiment.offline)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, images and tables of a training step, unless all have been logged before."""
        names = [name for name in metrics if not name.startswith("perf/")]
        if self.logged and all((step, name) in self.logged for name in names):
            return
        with self.guarded("logging"):
            super().log_metrics(metrics, step)

    @contextmanager
    def guarded(self, action: str) -> Iterator[None]:
        """Catch errors in the ``with`` block; the first for each action is logged as one line.

        Args:
            action: a description of the block for the message, such as ``sending images``.

        Raises:
            Exception: the error itself, if ``tracking.strict`` is set.
        """
        try:
            yield
        except Exception as error:  # wandb raises many kinds
            if self.tracking.strict:
                raise
            if action not in self.failures:
                self.failures.add(action)
                say(f"W&B: {action} failed ({reason(error)}); the run goes on without it.")
            log.debug("%s failed", action, exc_info=True)


def metrics_logged(run: Run) -> set[tuple[int, str]]:
    """Return step and name of each metric in the files of W&B, when a run is resumed.

    ``metrics.csv`` does not tell, since W&B writes its files a little later.
    """
    logged: set[tuple[int, str]] = set()
    for file in run.folder.glob("wandb/*run-*/*.wandb"):
        for line in wandb_command("leet", "inspect", "--json", str(file)).stdout.splitlines():
            if line.startswith("{") and "history" in (record := json.loads(line)):
                row = record["history"]["item"]
                logged |= {(row.get("trainer/global_step", 0), name) for name in row}
    return logged


@contextmanager
def redacted_command_line() -> Iterator[None]:
    """Redact secrets in ``sys.argv``, which W&B records."""
    words = sys.argv
    sys.argv = [words[0], *map(without_secrets, words[1:])]
    try:
        yield
    finally:
        sys.argv = words


def open_run(
    tracking: WandbSettings, mode: Mode | None, run: Run, *, job: str, config: dict[str, Any]
) -> RunLogger:
    """Start a W&B run, offline if there is no API key or the server cannot be reached.

    All files of W&B go into the run folder, so that a later upload finds them.

    Raises:
        wandb.errors.Error: if the server cannot be reached and ``tracking.strict`` is set.
    """
    data = run.folder.absolute() / "wandb" / "data"
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"], os.environ["WANDB_DATA_DIR"] = str(data.parents[1]), str(data)
    wandb = package()
    wandb.setup(wandb.Settings(silent=True))
    if mode is None:
        mode = "online" if has_key() else "offline"
        if mode == "offline":
            say(f"W&B: no API key, so this run is recorded offline. {HOW_TO_UPLOAD}")
    before = set(run.folder.glob("wandb/run-*"))
    try:
        return RunLogger(tracking, mode, run, job, config)
    except (wandb.errors.Error, OSError, ValueError) as error:
        if mode != "online" or tracking.strict:
            raise
        wandb.teardown()  # otherwise the id counts as in use
        for failed in set(run.folder.glob("wandb/run-*")) - before:
            shutil.rmtree(failed)  # it is empty, and would be uploaded as a crashed run
        say(f"W&B cannot be reached ({reason(error)}): offline. {HOW_TO_UPLOAD}")
    return RunLogger(tracking, "offline", run, job, config)
