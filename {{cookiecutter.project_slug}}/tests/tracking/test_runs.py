"""What a run is told, and when there is one at all."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import wandb

from {{ cookiecutter.package_name }}.run.identity import new_run_id
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR
from {{ cookiecutter.package_name }}.tracking import client, facts

from reading import (
    as_dict,
    config,
    entries,
    exit_code,
    history,
    logged,
    records,
    started,
    summary,
)
from small import OWN, SHAPES
from tracked import TRACKED

SOURCE = Path(client.__file__).parents[1]


def test_without_a_key_the_run_is_kept_offline_and_says_so(tracked, caplog):
    caplog.set_level("INFO")
    run = tracked("trainer.max_epochs=1")
    (line,) = [record.message for record in caplog.records if record.name == client.__name__]
    assert "no API key" in line
    assert "wandb-sync" in line
    assert exit_code(run) == 0


def test_settings_and_identity_reach_the_run(recorded):
    record = started(recorded)
    assert record.run_id == recorded.name
    assert record.project == "{{ cookiecutter.project_slug }}"
    assert record.run_group == "a-group"
    assert record.job_type == "train"
    assert list(record.tags) == ["one", "two"]
    assert record.notes == "some notes"
    told = config(recorded)
    assert told["model"]["backbone"] == "test_resnet"
    assert told["data"]["train_images"] == 40
    assert set(told["git"]) == {"commit", "dirty"}
    assert told["data_fingerprint"] == facts.fingerprint(recorded.parents[1] / "data" / "shapes")
    assert told["model_size"]["parameters"] > 1000
    assert told["model_size"]["trainable"] == told["model_size"]["parameters"]


def test_the_config_stands_there_once(recorded):
    told = config(recorded)
    assert "lr" in told["optimizer"]
    assert not {"lr", "backbone", "optimizer.lr", "settings"} & set(told)


def test_metrics_of_every_epoch_are_there(recorded):
    rows = history(recorded)
    assert [row["epoch"] for row in rows if MONITOR in row] == [0, 1]
    keys = set().union(*rows)
    assert {"train/loss", "train/lr", "train/grad_norm", *METRICS} <= keys
    assert MONITOR.replace("val", "test") in keys
    assert min(logged(recorded, "perf/images_per_second")) > 0


def test_charts_go_by_epoch_and_the_summary_is_the_best(recorded):
    found = [record.metric for record in records(recorded) if record.HasField("metric")]
    defined = {metric.name: metric for metric in found}
    for name, goal in METRICS.items():
        assert defined[name].step_metric == "epoch"
        assert getattr(defined[name].summary, goal)


def test_nothing_is_staged_outside_the_run_folder(recorded):
    found = [record.artifact for record in records(recorded) if record.HasField("artifact")]
    staged = [Path(path) for artifact in found for path in entries(artifact).values() if path]
    assert len(staged) > 5
    for path in staged:
        assert path.is_relative_to(recorded)
        assert path.is_file()


def test_system_metrics_are_there(recorded):
    assert any(record.HasField("stats") for record in records(recorded))


def test_watching_weights_is_only_on_request(tracked, monkeypatch, recorded):
    assert not [key for row in history(recorded) for key in row if key.startswith("graph")]
    from {{ cookiecutter.package_name }}.tracking import measures

    monkeypatch.setattr(measures, "WATCH_STEPS", 1)
    watched = tracked("trainer.max_epochs=1", "tracking.watch=gradients")
    unwatched = tracked("trainer.max_epochs=1")
    for run, some in ((watched, True), (unwatched, False)):
        keys = set().union(*history(run))
        assert any(key.startswith("gradients/") for key in keys) is some


def test_our_reader_and_the_package_s_own_agree(recorded):
    path = next(recorded.glob("wandb/offline-run-*/*.wandb"))
    words = ["leet", "inspect", "--json", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *words], capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    theirs = [line["history"]["item"] for line in lines if line["type"] == "history"]
    ours = history(recorded)
    assert len(theirs) == len(ours) > 5
    for own, other in zip(ours, theirs, strict=True):
        assert own["_step"] == other["_step"]
        for name in {MONITOR, "train/loss", "epoch"} & set(own):
            assert own[name] == pytest.approx(other[name])


def test_empty_variables_are_none(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("WANDB_PROJECT", "another")
    monkeypatch.setenv("WANDB_ENTITY", "a-team")
    run = tracked("trainer.max_epochs=1")
    assert exit_code(run) == 0
    assert (started(run).project, started(run).entity) == ("another", "a-team")


def test_one_module_imports_the_package_and_does_so_late():
    importing = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if "wandb" in names:
            importing.append(path.name)
            at_the_top = [node for node in tree.body if isinstance(node, ast.Import)]
            assert "wandb" not in {alias.name for node in at_the_top for alias in node.names}
    assert importing == ["client.py"]


def test_a_failed_training_ends_as_failed_with_the_reason(tracked, workplace, own_data):
    next(own_data.rglob("*.jpg")).write_bytes(b"no image")
    with pytest.raises(SystemExit):
        tracked(OWN, f"data.root={own_data}")
    (run,) = (workplace / "runs").iterdir()
    assert exit_code(run) == 1
    assert "Error" in summary(run)["failure"]


def test_a_diverged_training_ends_as_failed_with_the_reason(tracked, workplace):
    with pytest.raises(SystemExit, match="diverged"):
        tracked(
            "optimizer.lr=1e30",
            "optimizer.clip_norm=null",
            "schedule.warmup=0",
            "trainer.log_every_n_steps=50",  # more than there are: it is found all the same
        )
    (run,) = (workplace / "runs").iterdir()
    assert exit_code(run) == 1
    assert "NotFiniteError" in summary(run)["failure"]


def test_a_multirun_of_three_makes_one_run_for_each_job(command, workplace):
    command("train", *TRACKED, *SHAPES, "-m", "seed=1,2,3", "trainer.max_epochs=1")
    wandb.teardown()
    runs = sorted(path for path in (workplace / "runs").iterdir() if (path / "wandb").is_dir())
    assert [started(run).run_id for run in runs] == [run.name for run in runs]
    assert [as_dict(started(run).config.update)["seed"] for run in runs] == [1, 2, 3]
    assert [exit_code(run) for run in runs] == [0, 0, 0]


def test_a_sweep_names_its_runs(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "from-the-agent")
    assert new_run_id() == "from-the-agent"
