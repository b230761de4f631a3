"""Lightning's logger for W&B, with an offline fallback.

Errors of W&B do not stop training: it continues without an account, and when the network or the
server fails.
"""

import logging
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ..run.environment import git_output, redacted, without_secrets
from ..run.folder import Run, read_rows
from ..run.rank import is_first
from ..settings.schema import METRICS
from .client import (
    abandon,
    has_key,
    how_to_upload,
    package,
    read_records,
    reason,
    requested_mode,
    say,
    unreachable,
    wandb_settings,
)
from .settings import Mode, WandbSettings

log = logging.getLogger(__name__)

SWEEP = "WANDB_SWEEP_ID"  # the variable that the agent of a sweep sets
# The beginnings of the names of metrics of an epoch.
BY_EPOCH = ("val/", "test/", "train/loss_epoch")


class RunLogger(WandbLogger):
    """The logger of a W&B run, whose id is the name of the run folder."""

    def __init__(self, tracking: WandbSettings, mode: Mode, run: Run, **described: Any) -> None:
        self.tracking = tracking
        self.run = run
        self.offline = mode == "offline"  # recorded for a later upload
        self.model_metadata: dict[str, Any] = {}  # of the artifacts of models
        # ~ if cookiecutter.scope == "complete"
        self.artifacts: list[dict[str, Any]] = []  # with their files, see ``log_files``
        # ~ endif
        self.epoch = 0  # of the last row
        self.failures: set[str] = set()
        self.defined: set[str] = set()  # metrics whose axis is the epoch
        self.scores: dict[str, list[float]] = defaultdict(list)  # of all sessions, by metric
        # A resumed run repeats the steps after a checkpoint.
        self.logged = metrics_logged(run) if is_first() else set()
        resumed, environ = any(run.folder.glob("wandb/*run-*")), os.environ
        # "never" protects the run of another folder, if WANDB_RUN_ID was left over.
        resume = "allow" if resumed or run.checkpoints or SWEEP in environ else "never"
        # W&B would take a token in the place of the user for a name.
        remote = git_output("config", "--get", "remote.origin.url")
        super().__init__(
            id=run.id,
            resume=None if "WANDB_RESUME" in environ else resume,
            save_dir=run.folder,
            mode=mode,
            tags=redacted(tracking.tags) or None,  # None are those of WANDB_TAGS
            settings=self.wandb.Settings(
                **tracking.model_dump(include={"init_timeout", "finish_timeout"}),
                git_remote_url=remote and without_secrets(remote),
                silent=True,
            ),
            **redacted(tracking.model_dump(include={"project", "entity", "group", "notes"})),
            **described | ({"config": {}} if SWEEP in environ else {}),
        )
        words = sys.argv
        sys.argv = [words[0], *map(without_secrets, words[1:])]  # W&B records them
        try:
            _ = self.experiment  # starts the run, or raises; a dummy in processes of rank 1 and up
            if SWEEP in environ and is_first():
                # The agent has set its parameters by their dotted names: do not add them again.
                for key in self.experiment.config.keys():  # noqa: SIM118 - it is not a mapping
                    remove(described["config"], key)
                self.experiment.config.update(described["config"])
            # Without its files, the server may have the rows of a run, unless it is new there.
            if is_first() and (resumed or not self.experiment.resumed):
                self._log_missing_rows()
        except BaseException:  # an interrupted run must not end as finished
            abandon()  # otherwise the next run would be a part of this one
            raise
        finally:
            sys.argv = words
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk each line of wandb's own log would print a traceback.
            handler.handleError = lambda record: None  # type: ignore[method-assign] # noqa: ARG005

    def _log_missing_rows(self) -> None:
        """Log the rows of ``metrics.csv`` that W&B lacks, since it was killed or turned off."""
        for row in read_rows(self.run.metrics):
            step = int(row.pop("step"))
            values = {name: float(value) for name, value in row.items()}
            self.log_metrics(values | {"epoch": int(row["epoch"])}, step)
            self.logged |= {(step, name) for name in row}

    @property
    def wandb(self) -> ModuleType:
        """The package ``wandb``."""
        return package()

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, images and tables of a training step, unless all have been logged before."""
        # Images and tables are logged without their epoch, which is their axis.
        self.epoch = metrics.get("epoch", self.epoch)
        # ~ if cookiecutter.scope == "complete"
        names = [name for name in metrics if not name.startswith("perf/")]
        # ~ else
        names = list(metrics)
        # ~ endif
        scores = METRICS.keys() & metrics.keys()
        for name in scores:
            self.scores[name].append(float(metrics[name]))
        if self.logged and all((step, name) in self.logged for name in names):
            return
        with self.guarded("logging"):
            for name in metrics.keys() - self.defined:
                if name.startswith(BY_EPOCH):
                    self.defined.add(name)
                    # The summary has the last value and, of a score, the best.
                    summary = f"last,{METRICS[name]}" if name in METRICS else None
                    self.experiment.define_metric(name, step_metric="epoch", summary=summary)
            super().log_metrics({"epoch": self.epoch, **metrics}, step)
            for name in scores:  # of W&B's own, the best is that since the run was resumed
                best = {"max": max, "min": min}[METRICS[name]](self.scores[name])
                values = {"last": self.scores[name][-1], METRICS[name]: best}
                self.experiment.summary[name] = values

    @contextmanager
    def guarded(self, action: str) -> Iterator[None]:
        """Catch errors in the ``with`` block; each is logged as one line when it first occurs.

        Every call of W&B during a run is in such a block, so that no error reaches the training.

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
            if reason(error) not in self.failures:
                self.failures.add(reason(error))
                say(f"W&B: {action} failed ({reason(error)}); the command continues without it.")
            log.debug("%s failed", action, exc_info=True)


def remove(tree: dict[str, Any], path: str) -> None:
    """Remove the value at a dotted path from a nested dictionary, if it has one."""
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.get(parent, {})
    tree.pop(last, None)


def metrics_logged(run: Run) -> set[tuple[int, str]]:
    """Return step and name of each metric and image in the files of W&B, when a run is resumed.

    ``metrics.csv`` does not tell, since W&B writes its files a little later.
    """
    logged: set[tuple[int, str]] = set()
    for file in run.folder.glob("wandb/*run-*/*.wandb"):
        with suppress(ValueError):  # the file of a run that was killed may be empty
            for record in read_records(file):
                row = record.get("history", {}).get("item", {})
                # An image has columns such as "val/predictions._type" and "val/predictions.path".
                names = {name.removesuffix("._type") for name in row}
                logged |= {(row.get("trainer/global_step", 0), name) for name in names}
    return logged


def open_run(tracking: WandbSettings, run: Run, **described: Any) -> RunLogger | None:
    """Start a W&B run, offline if there is no API key or the server cannot be reached.

    All files of W&B go into the run folder, so that a later upload finds them.

    Args:
        tracking: the settings of W&B.
        run: the run of the command.
        described: name, job type and config of the W&B run.

    Returns:
        The logger of the run; None if tracking is disabled.

    Raises:
        UsageError: if an environment variable has a value that W&B does not know.
        Exception: what W&B raises if it can neither start nor record a run, or, with
            ``tracking.strict``, if the server cannot be reached.
    """
    data = run.folder.absolute() / "wandb" / "data"
    mode = requested_mode(tracking, os.environ)
    if mode == "disabled":
        return None
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"], os.environ["WANDB_DATA_DIR"] = str(data.parents[1]), str(data)
    settings = wandb_settings()
    if mode != "offline" and not has_key() and not (mode and tracking.strict):
        mode = "offline"
        say(f"W&B: no valid API key, so this run is recorded offline. {how_to_upload(run)}")
    wandb = package()
    before = set(run.folder.glob("wandb/run-*"))
    if mode != "offline":
        try:
            problem = unreachable(settings.base_url) if is_first() else None
            if problem:
                raise ConnectionError(problem)
            return RunLogger(tracking, mode or "online", run, **described)
        except (wandb.errors.CommError, OSError, ValueError) as error:
            if tracking.strict:
                raise
            for failed in set(run.folder.glob("wandb/run-*")) - before:
                shutil.rmtree(failed)  # it is empty, and would be uploaded as a crashed run
            say(f"W&B cannot be reached ({reason(error)}): offline. {how_to_upload(run)}")
    return RunLogger(tracking, "offline", run, **described)
