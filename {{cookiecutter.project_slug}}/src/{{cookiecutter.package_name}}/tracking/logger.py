"""Lightning's logger for W&B, for a run whose id is the name of the run folder."""

import os
import sys
# ~ if cookiecutter.scope == "complete"
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
# ~ else
from collections.abc import Iterator, Mapping
# ~ endif
from contextlib import contextmanager
from functools import reduce
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from ..run.environment import git_output, without_secrets
from ..run.folder import Run, read_metrics
from ..settings.schema import METRICS
# ~ if cookiecutter.scope == "complete"
from .alerts import due_rules
# ~ endif
from .client import abandon, package, reason, say
from .settings import WandbSettings

SWEEP = "WANDB_SWEEP_ID"  # the variable that the agent of a sweep sets
BY_EPOCH = ("val/", "test/", "train/loss_epoch")  # how the names of metrics of an epoch begin


class RunLogger(WandbLogger):
    """The logger of a W&B run; ``described`` are its config and arguments of ``wandb.init``."""

    def __init__(self, tracking: WandbSettings, mode: str, run: Run, **described: Any) -> None:
        self.wandb = package()
        self.tracking = tracking
        self.run = run
        self.offline = mode == "offline"  # recorded for a later upload
        # ~ if cookiecutter.scope == "complete"
        self.described = {**described}
        self.held: Counter[int] = Counter()  # for how many values in a row each rule has held
        self.lasting: list[Callable[[RunLogger], None]] = []  # see ``log_lasting``
        self.digests: set[str] = set()  # of the artifacts that are logged
        self.scores: dict[str, Any] = {}  # the last and the best, as in the summary
        # ~ endif
        self.failures: set[str] = set()
        self.defined: set[str] = set()  # metrics whose axis is the epoch
        config = described.pop("config")
        # With "never", a left-over WANDB_RUN_ID cannot add to the run of another folder.
        goes_on = run.checkpoints or SWEEP in os.environ or any(run.folder.glob("wandb/*run-*"))
        # W&B would record a token in the address as if it were a user name.
        remote = git_output("config", "--get", "remote.origin.url")
        super().__init__(
            id=run.id,
            resume=os.environ.get("WANDB_RESUME", "allow" if goes_on else "never"),
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
        except BaseException:  # an interrupted run must not end as finished
            abandon()  # otherwise the next run would be a part of this one
            raise
        finally:
            sys.argv = words

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, images and tables of a training step."""
        with self.guarded("logging"):
            for name in {name for name in metrics if name.startswith(BY_EPOCH)} - self.defined:
                self.defined.add(name)
                self.experiment.define_metric(name, step_metric="epoch")
            super().log_metrics(metrics, step)
            scores = METRICS.keys() & metrics.keys()
            # W&B itself would only know the best value since the last resume.
            rows = [*read_metrics(self.run.metrics), metrics] if scores else []
            for name in scores:
                values = [float(row[name]) for row in rows if name in row]
                best = {"max": max, "min": min}[METRICS[name]](values)
                # ~ if cookiecutter.scope == "complete"
                self.scores[name] = {"last": values[-1], METRICS[name]: best}
                self.experiment.summary[name] = self.scores[name]
            for rule in due_rules(self.tracking.alerts.rules, metrics, self.held):
                text = f"{rule.metric} is {metrics[rule.metric]:.4g} in {self.run.id}"
                self.alert(f"{rule.metric} {rule.op} {rule.value:g}", text, rule.level)

    def alert(self, title: str, text: str, level: str) -> None:
        """Send an alert and log it; an offline run sends it when it is uploaded."""
        say(f"{level}: {title}: {text}")
        with self.guarded("sending an alert"):
            self.experiment.alert(title=title, text=text, level=level)

    def log_lasting(self, action: str, log: Callable[["RunLogger"], None]) -> None:
        """Call ``log`` to log artifacts or tables, which W&B's file of an online run does not hold.

        It is called again for an offline session if the server has not received the run.
        """
        self.lasting.append(log)
        with self.guarded(action):
            log(self)

            # ~ else
                self.experiment.summary[name] = {"last": values[-1], METRICS[name]: best}

            # ~ endif

    @contextmanager
    def guarded(self, action: str) -> Iterator[None]:
        """Log an error of W&B in the ``with`` block as one line."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            if reason(error) not in self.failures:
                self.failures.add(reason(error))
                say(f"W&B: {action} failed ({reason(error)}); the command continues without it.")
