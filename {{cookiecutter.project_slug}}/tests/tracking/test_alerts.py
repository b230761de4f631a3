"""Who is told what, and when."""

from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.task import MONITOR
from {{ cookiecutter.package_name }}.tracking.alerts import Alerts, due, stagnant
from {{ cookiecutter.package_name }}.tracking.settings import AlertRule

from reading import alerts


def rule(**changes):
    return AlertRule(**{"metric": "val/loss", "op": ">", "value": 1.0} | changes)


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({}, [2.0], True),
        ({}, [1.0], False),
        ({"op": ">="}, [1.0], True),
        ({"op": "<"}, [0.5], True),
        ({"op": "<="}, [1.5], False),
        ({}, [], False),
        ({"patience": 2}, [0.0, 2.0], False),
        ({"patience": 2}, [2.0], False),
        ({"patience": 2}, [2.0, 2.0], True),
        ({}, [float("nan")], False),
    ],
)
def test_a_rule_is_due_when_the_last_values_all_are_beyond(changes, values, expected):
    assert due(rule(**changes), values, sent=False) is expected


def test_a_rule_speaks_once_unless_it_may_again():
    assert not due(rule(), [2.0], sent=True)
    assert due(rule(once=False), [2.0], sent=True)


def test_standing_still_is_told_once():
    values = [0.5, 0.6, 0.6, 0.4, 0.5, 0.3]
    told = [stagnant(values[: end + 1], "max", 2) for end in range(len(values))]
    assert told == [False, False, False, True, False, False]
    assert stagnant([1.0, 0.5, 0.7, 0.6], "min", 2)


def test_alerts_are_stored_with_an_offline_run(recorded):
    rules = [one for one in alerts(recorded) if one.title == "train/loss > -1"]
    assert len(rules) == 1
    assert recorded.name in rules[0].text
    assert rules[0].level == "WARN"
    assert [one.title for one in alerts(recorded)][-1] == "Run finished"


def test_alerts_are_shown_in_the_log(tracked, caplog):
    caplog.set_level("INFO")
    run = tracked("trainer.max_epochs=1", "tracking.alerts.finished=true")
    assert f"INFO: Run finished: {run.name}" in caplog.text


def test_a_loss_that_is_not_finite_is_told(tracked, workplace):
    with pytest.raises(SystemExit):
        tracked("optimizer.lr=1e30", "optimizer.clip_norm=null", "schedule.warmup=0")
    (run,) = (workplace / "runs").iterdir()
    (alert,) = alerts(run)
    assert alert.title == "Loss is not finite"
    assert alert.level == "ERROR"


def test_a_failure_is_told_unless_nobody_wants_to_know(tracked, workplace, monkeypatch):
    from {{ cookiecutter.package_name }} import train

    monkeypatch.setattr(train, "_test_best", _fails)
    for wanted in ("true", "false"):
        with pytest.raises(SystemExit):
            tracked("trainer.max_epochs=1", f"tracking.alerts.failed={wanted}")
    told = [[one.text for one in alerts(run)] for run in sorted((workplace / "runs").iterdir())]
    assert sorted(map(len, told)) == [0, 1]
    assert "out of luck" in str(told)


def _fails(*_):
    raise RuntimeError("out of luck")


def test_no_improvement_is_told_once(monkeypatch):
    told = []
    monkeypatch.setattr(
        "{{ cookiecutter.package_name }}.tracking.alerts.send_alert",
        lambda *words: told.append(words[1]),
    )
    wanted = SimpleNamespace(rules=[], no_improvement=2)
    folder = SimpleNamespace(id="a-run")
    watcher = Alerts(SimpleNamespace(tracking=SimpleNamespace(alerts=wanted), folder=folder))
    for score in (0.5, 0.4, 0.5, 0.3):
        trainer = SimpleNamespace(sanity_checking=False, callback_metrics={MONITOR: score})
        watcher.on_validation_end(trainer, None)
    assert told == ["No improvement"]
