"""The rules of ``tracking.alerts``: the metrics that they may name, and when they hold."""

import operator
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UsageError
# ~ if cookiecutter.task == "classification"
from ..settings.schema import METRICS, MONITOR, Settings
# ~ else
from ..settings.schema import METRICS
# ~ endif
from .settings import AlertRule

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
    "train/loss_epoch",
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
                f"  {', '.join(names)}"
            )


def due_rules(
    rules: Sequence[AlertRule], metrics: Mapping[str, Any], held: Counter[int]
) -> Iterator[AlertRule]:
    """Yield each rule that, with new metrics, has held for ``patience`` values in a row.

    ``held``, which is updated, tells by the index of a rule for how many values it has held.
    """
    for index, rule in enumerate(rules):
        if rule.metric in metrics:
            holds = COMPARE[rule.op](metrics[rule.metric], rule.value)
            held[index] = held[index] + 1 if holds else 0
            if held[index] == rule.patience or (held[index] > rule.patience and not rule.once):
                yield rule
