"""Tell somebody: pure functions decide, a thin layer sends."""

import operator
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from ..errors import NotFiniteError
from ..task import METRICS, MONITOR
from .client import Tracked, reason, say
from .settings import AlertRule

Level = Literal["INFO", "WARN", "ERROR"]

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def due(rule: AlertRule, values: Sequence[float], *, sent: bool) -> bool:
    """Whether the last ``rule.patience`` values all are beyond the rule's value.

    Args:
        rule: what to look for.
        values: of the rule's metric, the newest last.
        sent: whether this rule has had its say already.
    """
    if (sent and rule.once) or len(values) < rule.patience:
        return False
    return all(COMPARE[rule.op](value, rule.value) for value in values[-rule.patience :])


def stagnant(values: Sequence[float], goal: str, epochs: int) -> bool:
    """Whether the best value is exactly ``epochs`` values old: told once for each standstill."""
    best = max(values) if goal == "max" else min(values)
    return len(values) - 1 - values.index(best) == epochs


def send_alert(tracked: Tracked, title: str, text: str, level: Level) -> None:
    """Store an alert with the run, which a server delivers, and show it here in any case."""
    say(f"{level}: {title}: {text}")
    with tracked.guarded("sending an alert"):
        tracked.run.alert(title=title, text=text, level=level)


class Alerts(Callback):
    """Look at the metrics after each validation."""

    def __init__(self, tracked: Tracked) -> None:
        self.tracked = tracked
        self.settings = tracked.tracking.alerts
        self.values: dict[str, list[float]] = defaultdict(list)
        self.sent: set[int] = set()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check each rule."""
        if trainer.sanity_checking:
            return
        for name, value in trainer.callback_metrics.items():
            self.values[name].append(float(value))
        run = self.tracked.folder.id
        for index, rule in enumerate(self.settings.rules):
            values = self.values[rule.metric]
            if due(rule, values, sent=index in self.sent):
                self.sent.add(index)
                text = f"{rule.metric} is {values[-1]:.4g} in {run}"
                title = f"{rule.metric} {rule.op} {rule.value:g}"
                send_alert(self.tracked, title, text, rule.level)
        epochs, scores = self.settings.no_improvement, self.values[MONITOR]
        if epochs and scores and stagnant(scores, METRICS[MONITOR], epochs):
            text = f"{MONITOR} of {run} has not improved for {epochs} epochs"
            send_alert(self.tracked, "No improvement", text, "WARN")


def tell_end(tracked: Tracked, error: BaseException | None) -> None:
    """Tell how a run ended, if that is asked for."""
    settings, run = tracked.tracking.alerts, tracked.folder.id
    if error is None:
        if settings.finished:
            send_alert(tracked, "Run finished", run, "INFO")
    elif isinstance(error, NotFiniteError) and settings.not_finite:
        send_alert(tracked, "Loss is not finite", f"{run}: {reason(error)}", "ERROR")
    elif settings.failed:
        send_alert(tracked, "Run failed", f"{run}: {reason(error)}", "ERROR")
