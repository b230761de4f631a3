"""Lightning's logger for W&B, which logs nothing twice when a run is resumed."""

import logging
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import reduce
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from ..run.environment import git_output, without_secrets
from ..run.folder import Run, read_metrics
from ..settings.schema import METRICS
from .client import abandon, package, read_records, reason, say
from .settings import Mode, WandbSettings

SWEEP = "WANDB_SWEEP_ID"  # the variable that the agent of a sweep sets
BY_EPOCH = ("val/", "test/", "train/loss_epoch")  # how the names of metrics of an epoch begin


class RunLogger(WandbLogger):
    """The logger of a W&B run, whose id is the name of the run folder.

    ``described`` are the config of the run and further arguments of ``wandb.init``.
    """

    def __init__(self, tracking: WandbSettings, mode: Mode, run: Run, **described: Any) -> None:
        self.wandb = package()
        self.tracking = tracking
        self.run = run
        self.offline = mode == "offline"  # recorded for a later upload
        # ~ if cookiecutter.scope == "complete"
        self.artifacts: list[dict[str, Any]] = []  # with their files, see ``remember``
        # ~ endif
        self.epoch: float = 0  # of the last row
        self.failures: set[str] = set()
        self.defined: set[str] = set()  # metrics whose axis is the epoch
        self.scores: dict[str, list[float]] = defaultdict(list)  # of all sessions, by metric
        self.logged = metrics_logged(run)  # a resumed run repeats the steps after its checkpoint
        config, resumed = described.pop("config"), any(run.folder.glob("wandb/*run-*"))
        # of the artifacts of models
        self.model_metadata = {"run": run.id, "git_commit": config["git"]["commit"]}
        # With "never", a left-over WANDB_RUN_ID cannot add to the run of another folder.
        resume = "allow" if resumed or run.checkpoints or SWEEP in os.environ else "never"
        # W&B would record a token in the address as if it were a user name.
        remote = git_output("config", "--get", "remote.origin.url")
        super().__init__(
            id=run.id,
            resume=os.environ.get("WANDB_RESUME", resume),
            save_dir=run.folder,
            mode=mode,
            settings=self.wandb.Settings(
                **tracking.model_dump(include={"init_timeout", "finish_timeout"}),
                git_remote_url=remote and without_secrets(remote),
                silent=True,
            ),
            **described,
        )
        words = sys.argv
        sys.argv = [words[0], *map(without_secrets, words[1:])]  # W&B records them
        try:
            if SWEEP in os.environ:  # the agent records its parameters by their dotted names
                for key in self.experiment.config.keys():  # noqa: SIM118 - it is not a mapping
                    *groups, name = key.split(".")
                    reduce(lambda tree, group: tree.get(group, {}), groups, config).pop(name, None)
            self.experiment.config.update(config, allow_val_change=True)
            # Rows of metrics.csv that W&B may lack because it was killed or off. If its files are
            # missing here and the server knows the run, it may have these rows: none is logged.
            for row in read_metrics(run.metrics) if resumed or not self.experiment.resumed else []:
                step = int(row.pop("step"))
                self.log_metrics(row, step)
                self.logged |= {(step, name) for name in row}
        except BaseException:  # an interrupted run must not end as finished
            abandon()  # otherwise the next run would be a part of this one
            raise
        finally:
            sys.argv = words
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk each line of wandb's own log would print a traceback.
            handler.handleError = lambda record: None  # type: ignore[method-assign] # noqa: ARG005

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, images and tables of a training step, unless all have been logged before."""
        # Images and tables are logged without their epoch, which is their axis.
        self.epoch = metrics.get("epoch", self.epoch)
        scores = METRICS.keys() & metrics.keys()
        for name in scores:
            self.scores[name].append(float(metrics[name]))
        # ~ if cookiecutter.scope == "complete"
        names = [name for name in metrics if not name.startswith("perf/")]
        if all((step, name) in self.logged for name in names):
        # ~ else
        if all((step, name) in self.logged for name in metrics):
        # ~ endif
            return
        with self.guarded("logging"):
            for name in metrics.keys() - self.defined:
                if name.startswith(BY_EPOCH):
                    self.defined.add(name)
                    self.experiment.define_metric(name, step_metric="epoch")
            super().log_metrics({"epoch": self.epoch, **metrics}, step)
            for name in scores:  # W&B itself would only know the best value since the resume
                best = {"max": max, "min": min}[METRICS[name]](self.scores[name])
                values = {"last": self.scores[name][-1], METRICS[name]: best}
                self.experiment.summary[name] = values

    @contextmanager
    def guarded(self, action: str) -> Iterator[None]:
        """Log an error in the ``with`` block as one line, instead of ending the training with it.

        Every call of W&B during a run is in such a block. With ``tracking.strict``, the error is
        raised.
        """
        try:
            yield
        except Exception as error:  # wandb raises many kinds
            if self.tracking.strict:
                raise
            if reason(error) not in self.failures:
                self.failures.add(reason(error))
                say(f"W&B: {action} failed ({reason(error)}); the command continues without it.")


def metrics_logged(run: Run) -> set[tuple[int, str]]:
    """Return step and name of each metric and image in the files of W&B, when a run is resumed.

    # ~ if cookiecutter.scope == "complete"
    An alert is among them at step 0, with its level and title as the name.

    # ~ endif
    ``metrics.csv`` does not tell, since W&B writes its files a little later.
    """
    logged: set[tuple[int, str]] = set()
    for file in run.folder.glob("wandb/*run-*/*.wandb"):
        with suppress(ValueError):  # the file of a run that was killed may be empty
            for record in read_records(file):
                # ~ if cookiecutter.scope == "complete"
                if "alert" in record:
                    alert = record["alert"]
                    logged.add((0, f"{alert['level']}: {alert['title']}"))
                # ~ endif
                row = record.get("history", {}).get("item", {})
                # An image has columns such as "val/predictions._type" and "val/predictions.path".
                names = {name.removesuffix("._type") for name in row}
                logged |= {(row.get("trainer/global_step", 0), name) for name in names}
    return logged
