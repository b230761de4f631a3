"""The record of a run: its identity, settings, metrics and best model, and how it ended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from {{ cookiecutter.package_name }}.run.identity import new_run_id
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR
from {{ cookiecutter.package_name }}.tracking import client
from {{ cookiecutter.package_name }}.tracking.settings import WandbSettings

from reading import (
    artifacts,
    config,
    entries,
    exit_code,
    history,
    records,
    started,
    summary,
)
from small import OWN, SHAPES
from tracked import KEY, PLAIN, TRACKED

TEST = MONITOR.replace("val", "test")


def test_identity_and_settings_reach_the_run(recorded):
    record, stored = started(recorded), config(recorded)
    assert record["run_id"] == recorded.name
    assert record["project"] == "{{ cookiecutter.project_slug }}"
    assert (record["run_group"], record["job_type"]) == ("a-group", "train")
    assert (record["notes"], record["tags"]) == ("some notes", ["first", "second"])
    assert stored["model"]["backbone"] == "test_resnet"
    assert "lr" in stored["optimizer"]
    assert not {"lr", "backbone", "optimizer.lr", "settings", "tracking"} & set(stored)
    assert set(stored["git"]) == {"commit", "dirty"}


def test_metrics_are_logged_by_epoch_and_summarised_by_their_best_value(recorded):
    rows = history(recorded)
    assert [row["epoch"] for row in rows if MONITOR in row] == [0, 1]
    # ~ if cookiecutter.task == "classification"
    measured = {*METRICS} - {"val/mAP"}  # of images with several labels
    # ~ else
    measured = {*METRICS}
    # ~ endif
    assert {"train/loss", "train/lr", "train/grad_norm", TEST, *measured} <= set().union(*rows)
    defined = {metric.get("name"): metric for metric in records(recorded, "metric")}
    for name, goal in METRICS.items():
        assert defined[name]["step_metric"] == "epoch"
        assert defined[name]["summary"] == {goal: True}


def test_the_best_model_is_an_artifact_in_the_run_folder(recorded):
    best = artifacts(recorded, "model")[0]
    assert best["name"] == f"model-{recorded.name}"
    assert {*best["aliases"]} == {"best", "latest"}
    scores = [row[MONITOR] for row in history(recorded) if MONITOR in row]
    facts = json.loads(best["metadata"])
    assert facts[MONITOR] == pytest.approx(max(scores))
    assert facts["epoch"] == scores.index(max(scores))
    staged = Path(entries(best)["best.ckpt"])
    assert staged.is_relative_to(recorded)
    assert staged.read_bytes() == (recorded / "checkpoints" / "best.ckpt").read_bytes()


@pytest.mark.parametrize(
    ("environ", "mode", "expected"),
    [
        ({}, None, None),
        ({}, "online", "online"),
        ({"WANDB_MODE": "dryrun"}, None, "offline"),
        ({"WANDB_MODE": ""}, None, None),
        ({"WANDB_MODE": "offline"}, "online", "online"),
        ({"WANDB_MODE": "disabled"}, "online", "disabled"),
        ({"WANDB_DISABLED": "true"}, "online", "disabled"),
    ],
)
def test_the_settings_decide_unless_the_environment_disables_tracking(environ, mode, expected):
    tracking = WandbSettings.model_construct(mode=mode)
    assert client.requested_mode(tracking, environ) == expected


def test_train_evaluate_and_predict_each_record_a_run_without_a_key(tracked, own_data, caplog):
    caplog.set_level("INFO")
    trained = tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    assert "no API key, so this run is recorded offline" in caplog.text
    checkpoint = f"checkpoint={trained}/checkpoints/best.ckpt"
    evaluated = tracked(checkpoint, name="evaluate", small=PLAIN)
    predicted = tracked(checkpoint, f"source={own_data}", name="predict", small=PLAIN)
    for run, job in ((trained, "train"), (evaluated, "evaluate"), (predicted, "predict")):
        assert (started(run)["job_type"], exit_code(run)) == (job, 0)
    for run in (trained, evaluated):
        assert any(TEST in row for row in history(run))


def test_without_the_package_or_disabled_the_training_is_not_tracked(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    runs = [tracked("trainer.max_epochs=1", "tracking.mode=online")]
    monkeypatch.setattr(client.metadata, "version", _not_installed)
    monkeypatch.delenv("WANDB_MODE")
    runs.append(tracked("trainer.max_epochs=1"))
    assert caplog.text.count("wandb is not installed") == 1
    for run in runs:
        assert TEST in json.loads((run / "metrics.json").read_text())
        assert not (run / "wandb").exists()


def _not_installed(name):
    raise client.metadata.PackageNotFoundError(name)


def test_project_and_entity_come_from_the_environment_and_secrets_reach_nothing(
    tracked, workplace, monkeypatch
):
    for name, value in {"PROJECT": "another", "ENTITY": "a-team", "API_KEY": KEY}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    origin = ["remote", "add", "origin", "https://me:hush-hush@example.org/a.git"]
    commit = ["commit", "-qm", "first", "--allow-empty"]
    for words in (["init", "-q"], origin, commit, ["add", "-N", "."]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True)
        (workplace / "own.py").write_text(f"key = '{KEY}'\npassword: hush-hush\n")
    texts = ("curl -u me:hush-hush https://a", "hf_hush-hush90123456789", f"mine is {KEY}")
    run = tracked(
        "tracking.mode=offline",
        "trainer.max_epochs=1",
        f"tracking.notes={texts[0]}",
        f"tracking.name={texts[1]}",
        f"tracking.tags=['{texts[2]}']",
    )
    assert (started(run)["project"], started(run)["entity"]) == ("another", "a-team")
    assert config(run)["git"]["dirty"]
    for path in run.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert KEY.encode() not in content, path
        assert b"hush-hush" not in content, path


def test_a_failed_training_is_recorded_as_failed_with_the_reason(tracked, workplace, own_data):
    next(own_data.rglob("*.jpg")).write_bytes(b"no image")
    with pytest.raises(SystemExit):
        tracked(OWN, f"data.root={own_data}")
    (run,) = (workplace / "runs").iterdir()
    assert exit_code(run) == 1
    assert "Error" in summary(run)["failure"]


def test_each_job_of_a_multirun_is_a_run(command, workplace):
    command("train", *TRACKED, *SHAPES, "-m", "seed=1,2", "trainer.max_epochs=1")
    wandb.teardown()
    runs = sorted(path for path in (workplace / "runs").iterdir() if (path / "wandb").is_dir())
    assert [started(run)["run_id"] for run in runs] == [run.name for run in runs]
    assert [config(run)["seed"] for run in runs] == [1, 2]
    assert [exit_code(run) for run in runs] == [0, 0]


def test_the_agent_of_a_sweep_names_the_runs(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "from-the-agent")
    assert new_run_id() == "from-the-agent"


def test_mistakes_in_the_settings_are_reported_before_pytorch_is_imported(workplace):
    code = (
        "import sys; from {{ cookiecutter.package_name }}.cli import train\n"
        "sys.argv = ['train', 'tracking.projct=x', 'tracking.media.images=1000']\n"
        "try: train()\nfinally: assert 'torch' not in sys.modules"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "2 settings are wrong" in done.stderr
    assert "tracking.projct" in done.stderr
    assert "did you mean tracking.project?" in done.stderr
    assert "tracking.media.images" in done.stderr
    assert "AssertionError" not in done.stderr
