"""Which alerts are sent, and when."""

from collections import Counter

import pytest

from {{ cookiecutter.package_name }}.run.folder import read_metrics
from {{ cookiecutter.package_name }}.settings.schema import MONITOR
from {{ cookiecutter.package_name }}.tracking import alerts
from {{ cookiecutter.package_name }}.tracking.settings import AlertRule

from reading import history, records


@pytest.mark.parametrize(
    ("changes", "values", "expected"),
    [
        ({}, [2.0], 1),
        ({}, [1.0], 0),
        ({"op": ">="}, [1.0], 1),
        ({"op": "<"}, [0.5], 1),
        ({"op": "<="}, [1.5], 0),
        ({"patience": 2}, [2.0, 0.0, 2.0], 0),
        ({"patience": 2}, [2.0], 0),
        ({"patience": 2}, [0.0, 2.0, 2.0, 2.0], 1),
        ({}, [float("nan")], 0),
        ({}, [2.0, 2.0, 0.0, 2.0], 2),
        ({"once": False}, [2.0, 2.0, 0.0, 2.0], 3),
    ],
)
def test_a_rule_is_due_each_time_it_begins_to_hold(changes, values, expected):
    rule, held = AlertRule(**{"metric": "val/loss", "op": ">", "value": 1.0} | changes), Counter()
    logged = [{name: value} for value in values for name in ("val/other", "val/loss")]
    due = [found for metrics in logged for found in alerts.due_rules([rule], metrics, held)]
    assert len(due) == expected


def test_a_rule_on_the_mean_loss_of_an_epoch_sees_each_epoch_once(tracked):
    rule = "{metric: train/loss_epoch, op: '>', value: -1, patience: 2}"
    run = tracked(f"tracking.alerts.rules=[{rule}]")
    losses = [row["train/loss_epoch"] for row in history(run) if "train/loss_epoch" in row]
    texts = [alert["text"] for alert in records(run, "alert")]
    assert len(losses) == 2
    assert texts == [f"train/loss_epoch is {losses[1]:.4g} in {run.name}"]


def test_alerts_are_recorded_with_an_offline_run(recorded):
    rule, end = records(recorded, "alert")
    assert (rule["title"], rule["level"]) == ("train/loss > -1", "WARN")
    assert recorded.name in rule["text"]
    assert end["title"] == "Run finished"


def test_a_failure_is_reported(tracked, workplace, caplog):
    caplog.set_level("INFO")
    diverging = ("optimizer.lr=1e30", "optimizer.clip_norm=null", "schedule.warmup=0")
    with pytest.raises(SystemExit, match="diverged"):
        tracked(*diverging, "trainer.log_every_n_steps=50")
    (run,) = (workplace / "runs").iterdir()
    (alert,) = records(run, "alert")
    assert (alert["title"], alert["level"]) == ("Run failed", "ERROR")
    assert "NotFiniteError" in alert["text"]
    assert caplog.text.count("ERROR: Run failed") == 1


def test_a_rule_for_a_metric_that_is_not_logged_is_refused_with_the_names(tracked, workplace):
    with pytest.raises(SystemExit, match=f"val/nothing is not logged.*\n.*{MONITOR}"):
        tracked("tracking.alerts.rules=[{metric: val/nothing, op: '>', value: 1}]")


def test_all_metrics_that_a_training_logs_may_be_named_in_rules(recorded):
    rows = read_metrics(recorded / "metrics.csv")
    logged = {name for row in rows for name in row if name.startswith(("train/", "val/", "perf/"))}
    # ~ if cookiecutter.task == "classification"
    missing = {"val/mAP"}  # of images with several labels
    # ~ elif cookiecutter.task == "detection"
    parts = {name for name in logged if name.startswith("train/loss_")} - {"train/loss_epoch"}
    logged -= parts
    missing = {"val/mAP_small", "val/mAP_medium", "val/mAP_large"} - logged  # no such objects
    # ~ else
    missing = set()
    # ~ endif
    assert logged == {*alerts.NAMES} - missing
