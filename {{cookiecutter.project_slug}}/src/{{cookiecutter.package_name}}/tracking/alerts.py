"""Send W&B alerts about the metrics of a training run, and about a run that has failed."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import UsageError
# ~ if cookiecutter.task == "classification"
from ..settings.schema import METRICS, MONITOR, Settings
# ~ else
from ..settings.schema import METRICS
# ~ endif
from .client import say
from .logger import RunLogger
from .settings import AlertRule

EPOCH_LOSS = "train/loss_epoch"  # known in all processes only after the epoch

# The metrics that rules may name. Add those that you log yourself.
NAMES = (
    "train/loss",
    "train/lr",
    "train/grad_norm",
    *METRICS,
    # ~ if cookiecutter.task == "detection"
    "val/mAP_small",
    "val/mAP_medium",
    "val/mAP_large",
    # ~ endif
    EPOCH_LOSS,
    "perf/images_per_second",
    "perf/data_wait",
    "perf/step_ms",
    "perf/memory_gb",
)
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


# ~ if cookiecutter.task == "classification"
def check_rules(rules: Sequence[AlertRule], settings: Settings) -> None:
    """Refuse a rule for a metric that a training run with these settings does not log."""
    other = MONITOR if settings.monitor == "val/mAP" else "val/mAP"  # of the other kind of labels
    names = [name for name in NAMES if name != other]
    # ~ else
def check_rules(rules: Sequence[AlertRule]) -> None:
    """Refuse a rule for a metric that a training run does not log."""
    names = NAMES
    # ~ endif
    for rule in rules:
        # ~ if cookiecutter.task == "detection"
        if rule.metric not in names and not rule.metric.startswith("train/loss_"):
        # ~ else
        if rule.metric not in names:
        # ~ endif
            raise UsageError(
                f"tracking.alerts.rules: {rule.metric} is not logged. Name one of these metrics:\n"
                f"  {', '.join(names)}\n"
                "If you log it yourself, add it to NAMES in tracking/alerts.py."
            )


class MetricAlerts(Callback):
    """Send the alerts of ``tracking.alerts.rules`` in a training run."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger
        self.held: Counter[int] = Counter()  # for how many values in a row each rule has held
        self.sent: set[int] = set()  # rules that have sent an alert

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Send the alerts that the metrics of this validation cause."""
        metrics = trainer.callback_metrics.items()
        self.check({name: value for name, value in metrics if name != EPOCH_LOSS})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the alerts that the mean loss of the previous epoch causes."""
        metrics = trainer.callback_metrics.items()
        self.check({name: value for name, value in metrics if name == EPOCH_LOSS})

    on_train_end = on_train_epoch_start  # the mean loss of the last epoch

    def check(self, metrics: Mapping[str, Any]) -> None:
        """Send the alerts that new values of metrics cause."""
        for index, rule in enumerate(self.logger.tracking.alerts.rules):
            if rule.metric not in metrics:
                continue
            value = float(metrics[rule.metric])
            self.held[index] = self.held[index] + 1 if COMPARE[rule.op](value, rule.value) else 0
            if self.held[index] >= rule.patience and not (rule.once and index in self.sent):
                self.sent.add(index)
                text = f"{rule.metric} is {value:.4g} in {self.logger.run.id}"
                title = f"{rule.metric} {rule.op} {rule.value:g}"
                send_alert(self.logger, title, text, rule.level)


def send_alert(
    logger: RunLogger, title: str, text: str, level: Literal["INFO", "WARN", "ERROR"]
) -> None:
    """Send an alert and log it; an offline run sends it when it is uploaded."""
    say(f"{level}: {title}: {text}")
    with logger.guarded("sending an alert"):
        logger.experiment.alert(title=title, text=text, level=level)
