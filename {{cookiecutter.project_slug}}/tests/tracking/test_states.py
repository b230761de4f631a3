"""Absent, off and offline: each trains, evaluates and predicts (test_online.py does so online)."""

import json
import sys

import pytest

from {{ cookiecutter.package_name }}.task import MONITOR
from {{ cookiecutter.package_name }}.tracking import client

from reading import artifacts, config, exit_code, history, started
from small import OWN

TEST = MONITOR.replace("val", "test")
PLAIN = ("trainer=cpu", "tracking=wandb")


@pytest.fixture
def all_three(tracked, own_data):
    """Train, evaluate and predict; returns the three run folders."""

    def run(*overrides):
        trained = tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1", *overrides)
        checkpoint = f"checkpoint={trained}/checkpoints/best.ckpt"
        evaluated = tracked(checkpoint, *overrides, name="evaluate", small=PLAIN)
        words = (checkpoint, f"source={own_data}", *overrides)
        predicted = tracked(*words, name="predict", small=PLAIN)
        for folder in (trained, evaluated):
            assert TEST in json.loads((folder / "metrics.json").read_text())
        assert json.loads((predicted / "predictions.json").read_text())
        return trained, evaluated, predicted

    return run


def test_absent_everything_works_and_one_line_says_so(all_three, monkeypatch, caplog):
    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        patched.setattr(client.metadata, "version", _not_installed)
        patched.setitem(sys.modules, "wandb", None)  # importing it would raise
        runs = all_three()
    assert caplog.text.count("wandb is not installed") == 3  # one for each command
    assert not [run for run in runs if (run / "wandb").exists()]


def _not_installed(name):
    raise client.metadata.PackageNotFoundError(name)


@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")]
)
def test_off_everything_works_whatever_the_settings_say(all_three, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    runs = all_three("tracking.mode=online")
    assert not [run for run in runs if (run / "wandb").exists()]


def test_offline_each_command_makes_a_run_of_its_own(all_three):
    trained, evaluated, predicted = all_three("tracking.mode=offline")
    jobs = [started(run).job_type for run in (trained, evaluated, predicted)]
    assert jobs == ["train", "evaluate", "predict"]
    assert [exit_code(run) for run in (trained, evaluated, predicted)] == [0, 0, 0]
    assert any(MONITOR in row for row in history(trained))
    for run in (trained, evaluated):
        assert any(TEST in row for row in history(run))
        assert any("test/predictions" in row for row in history(run))
        assert artifacts(run, "dataset")
    assert any("predict/images" in row for row in history(predicted))
    assert artifacts(predicted, "predictions")
    for run in (evaluated, predicted):
        assert config(run)["trained_in"] == trained.name
