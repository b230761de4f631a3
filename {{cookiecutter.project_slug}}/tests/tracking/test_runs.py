"""The record of a run: its identity, settings, metrics and best model, and how it ended."""

import csv
import json
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
import yaml

from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.run.processes import RUN_ID, VARIED, new_run_id
# ~ else
from {{ cookiecutter.package_name }}.run.processes import RUN_ID, new_run_id
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check, resolved
from {{ cookiecutter.package_name }}.settings.schema import METRICS, MONITOR, Settings
from {{ cookiecutter.package_name }}.settings.stored_settings import completed
from {{ cookiecutter.package_name }}.tracking import client
from {{ cookiecutter.package_name }}.tracking.settings import WandbSettings
from {{ cookiecutter.package_name }}.tracking.wandb_run import run_name

from reading import (
    artifacts,
    config,
    entries,
    exit_code,
    history,
    nested,
    records,
    started,
    summary,
)
from small import OWN, SHAPES, composed
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
    # ~ if cookiecutter.task == "classification" and cookiecutter.scope == "complete"
    measured = {*METRICS} - {"val/mAP"}  # of images with several labels
    # ~ else
    measured = {*METRICS}
    # ~ endif
    assert {"train/loss", "train/lr", "train/grad_norm", TEST, *measured} <= set().union(*rows)
    defined = {metric.get("name"): metric for metric in records(recorded, "metric")}
    by_epoch = {
        name
        for row in rows
        for name, value in row.items()
        if name.startswith(("val/", "test/", "train/loss_epoch")) and isinstance(value, float)
    }
    assert "train/loss_epoch" in by_epoch
    assert {defined[name]["step_metric"] for name in {*by_epoch, "val/predictions"}} == {"epoch"}
    scores = nested(summary(recorded))
    for name in measured:
        assert set(scores[name]) == {METRICS[name], "last"}


def test_the_name_of_a_run_tells_its_model_its_data_and_its_varied_values(recorded, monkeypatch):
    settings = Settings.model_validate(yaml.safe_load((recorded / "config.yaml").read_text()))
    run, suffix = Run(recorded), recorded.name.rsplit("_")[-1]
    assert started(recorded)["display_name"] == run_name(settings, run, "train", [])
    words = ["-m", "++optimizer.lr=0.1,0.2", "++seed=range(1,3)", "++trainer.max_epochs=3"]
    name = run_name(settings, run, "evaluate", words).split()
    assert name[:2] == ["evaluate", "{{ cookiecutter.task }}"]
    assert {"test_resnet", "shapes"} <= {*name}
    assert name[-3:] == [f"lr={settings.optimizer.lr:.4g}", f"seed={settings.seed}", suffix]
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")  # its agent gives all words
    # ~ if cookiecutter.scope == "complete"
    assert "max_epochs=2" in run_name(settings, run, "train", words).split()
    monkeypatch.setenv(VARIED, "trainer.max_epochs,seed")  # as tune sets it for a trial
    assert run_name(settings, run, "train", []).split()[-3:-1] == ["max_epochs=2", "seed=0"]


    # ~ else
    assert "max_epochs=2" in run_name(settings, run, "train", words).split()


# ~ endif
def test_the_best_model_is_an_artifact_in_the_run_folder(recorded):
    best = [model for model in artifacts(recorded, "model") if "best" in model["aliases"]][-1]
    assert best["name"] == f"model-{recorded.name}"
    assert {*best["aliases"]} == {"best", "latest"}
    scores = [row[MONITOR] for row in history(recorded) if MONITOR in row]
    facts = json.loads(best["metadata"])
    assert facts[MONITOR] == pytest.approx(max(scores))
    assert facts["epoch"] == scores.index(max(scores))
    (staged,) = [Path(path) for name, path in entries(best).items() if name.endswith(".ckpt")]
    assert staged.is_relative_to(recorded)
    assert staged.read_bytes() == (recorded / "checkpoints" / "best.ckpt").read_bytes()


@pytest.mark.parametrize(
    ("environ", "mode", "expected"),
    [
        ({}, None, "online"),
        ({}, "online", "online"),
        ({"MODE": "online"}, None, "online"),
        ({"MODE": "run"}, None, "online"),
        ({"MODE": "offline"}, None, "offline"),
        ({"MODE": "dryrun"}, None, "offline"),
        ({"MODE": "shared"}, None, "shared"),
        ({"MODE": "disabled"}, None, "disabled"),
        ({"MODE": "", "NAME": "", "RESUME": "", "BASE_URL": "", "TAGS": ""}, None, "online"),
        ({"MODE": "offline"}, "online", "online"),
        ({"MODE": "disabled"}, "online", "online"),
    ],
)
def test_the_settings_decide_on_the_mode_then_the_environment(monkeypatch, environ, mode, expected):
    for name, value in environ.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    tracking = WandbSettings.model_construct(mode=mode)
    assert client.requested_mode(tracking) == expected
    assert client.wandb_settings().run_tags is None


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("WANDB_MODE", "ofline", "'online', 'offline'"),
        ("WANDB_RESUME", "maybe", "'allow', 'must', 'never' or 'auto'"),
        ("WANDB_BASE_URL", "nowhere", "URL"),
    ],
)
def test_a_variable_that_wandb_does_not_know_is_named_with_the_known_values(
    tracked, monkeypatch, name, value, known
):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=rf"{name}={value}: .*{known}") as raised:
        tracked("trainer.max_epochs=1")
    assert len(str(raised.value).strip().splitlines()) == 1


def test_a_key_with_a_line_break_is_refused_without_being_shown(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", f"{KEY}\n")
    with pytest.raises(SystemExit, match="API key cannot start or end with whitespace") as raised:
        tracked("trainer.max_epochs=1")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_commands_that_turn_wandb_off_are_obeyed(workplace, mode):
    subprocess.run([sys.executable, "-m", "wandb", mode], check=True)
    tracking = WandbSettings.model_construct(mode=None)
    assert client.requested_mode(tracking) == mode


def test_names_and_tags_come_from_the_environment_unless_they_are_set(tracked, monkeypatch):
    values = {"NAME": "mine", "TAGS": "a,b", "JOB_TYPE": "probe", "PROJECT": "", "ENTITY": ""}
    for name, value in (values | {"NOTES": "a note", "RUN_GROUP": "a-group"}).items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    keys = ("display_name", "job_type", "notes", "run_group")
    record = started(tracked("trainer.max_epochs=1"))
    assert [record[key] for key in keys] == ["mine", "probe", "a note", "a-group"]
    assert record["project"] == "{{ cookiecutter.project_slug }}"  # empty is unset
    assert record["tags"] == ["a", "b"]
    names = ("name", "job_type", "notes", "group")
    words = (*(f"tracking.{name}=own-{name}" for name in names), "tracking.tags=[own]")
    record = started(tracked("trainer.max_epochs=1", *words))
    assert [record[key] for key in keys] == [f"own-{name}" for name in names]
    assert record["tags"] == ["own"]


def test_a_finished_run_is_not_repeated_in_its_folder(tracked, workplace, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "left-over")
    run = tracked("trainer.max_epochs=1")
    before = (run / "metrics.csv").read_bytes()
    with pytest.raises(SystemExit, match=r"WANDB_RUN_ID=left-over: the run .* is finished"):
        tracked("trainer.max_epochs=2")
    assert (run / "metrics.csv").read_bytes() == before


def test_a_server_that_cannot_be_reached_delays_the_start_by_less_than_ten_seconds(
    tracked, monkeypatch, caplog
):
    caplog.set_level("INFO")
    starts, original = [], wandb.init

    def timed(**words):
        starts.append((words["mode"], time.monotonic()))
        return original(**words)

    monkeypatch.setattr(wandb, "init", timed)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    run = tracked("trainer.max_epochs=1")
    (first, began), (second, again) = starts
    assert (first, second) == ("online", "offline")
    assert again - began < 10
    assert len([line for line in caplog.messages if "the server cannot be used" in line]) == 1
    assert exit_code(run) == 0


@pytest.fixture
def silent_server():
    """A server that never answers; ``accept`` raises ``BlockingIOError`` unless it was asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def test_train_evaluate_and_predict_each_record_a_run_without_a_key(
    tracked, own_data, caplog, monkeypatch, silent_server
):
    caplog.set_level("INFO")
    modes, original = [], wandb.init
    monkeypatch.setattr(
        wandb, "init", lambda **words: modes.append(words["mode"]) or original(**words)
    )
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent_server.getsockname()[1]}")
    trained = tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    assert "no valid API key: the run is recorded offline" in caplog.text
    assert "; tracking: Wandb." in caplog.text
    checkpoint = f"checkpoint={trained}/checkpoints/best.ckpt"
    monkeypatch.setenv("WANDB_RUN_ID", trained.name)  # left over from the training
    evaluated = tracked(checkpoint, "split=val", name="evaluate", small=PLAIN)
    predicted = tracked(checkpoint, f"source={own_data}", name="predict", small=PLAIN)
    assert trained.name not in {evaluated.name, predicted.name}
    for run, job in ((trained, "train"), (evaluated, "evaluate"), (predicted, "predict")):
        assert (started(run)["job_type"], exit_code(run)) == (job, 0)
    for run, metric in ((trained, TEST), (evaluated, MONITOR)):
        assert any(metric in row for row in history(run))
    assert not any(TEST in row for row in history(evaluated))
    assert modes == ["offline"] * 3
    with pytest.raises(BlockingIOError):  # no connection: there is nothing to wait for
        silent_server.accept()


def test_settings_of_earlier_versions_are_read(monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    tree = resolved(composed("tracking=wandb"))
    tree["tracking"] |= {"log_model": None, "log_model_every_n_epochs": 2, "strict": True}
    # ~ if cookiecutter.scope == "complete"
    rule = {"metric": MONITOR, "op": "<", "value": 1.0, "level": "INFO", "once": True}
    tree["tracking"]["alerts"] |= {"failed": False, "rules": [rule]}
    tree["tracking"]["media"] |= {"video": True}
    # ~ endif
    read = check(completed(tree, Settings, source=None), Settings).tracking
    assert WandbSettings.model_validate(read).log_model is None


def test_without_the_package_or_disabled_the_training_is_not_tracked(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    runs = [tracked("trainer.max_epochs=1")]
    monkeypatch.setattr(client, "installed", lambda: False)
    monkeypatch.delenv("WANDB_MODE")
    runs.append(tracked("trainer.max_epochs=1"))
    assert caplog.text.count("wandb is not installed") == 1
    for run in runs:
        assert TEST in json.loads((run / "metrics.json").read_text())
        assert not (run / "wandb").exists()


# ~ if cookiecutter.scope == "complete"
CALLS = ["log", "define_metric", "alert", "save", "log_artifact", "use_artifact"]


# ~ else
CALLS = ["log", "define_metric", "save", "log_artifact", "use_artifact"]


# ~ endif
@pytest.mark.parametrize(
    "calls",
    [
        [(wandb, "setup")],
        [(wandb, "login")],
        [(wandb, "init")],
        [(media, "__init__") for media in (wandb.Image, wandb.Artifact, wandb.Table)],
        [(wandb.Run, name) for name in CALLS],
    ],
)
def test_whatever_wandb_raises_ends_with_one_line_and_not_the_training(
    tracked, monkeypatch, caplog, calls
):
    caplog.set_level("INFO")

    def fail(*_, **__):
        raise RuntimeError("planted")

    for place, name in calls:
        monkeypatch.setattr(place, name, fail)
    run = tracked("trainer.max_epochs=1")
    assert TEST in json.loads((run / "metrics.json").read_text())
    assert len([text for text in caplog.messages if "planted" in text]) == 1


@pytest.fixture
def cannot_finish(monkeypatch):
    """The first call that finishes a W&B run fails."""
    finish, calls = wandb.Run.finish, []

    def fail_once(*words, **options):
        finish(*words, **options)
        calls.append(options)
        if len(calls) == 1:
            raise RuntimeError("planted")

    monkeypatch.setattr(wandb.Run, "finish", fail_once)


@pytest.mark.usefixtures("cannot_finish")
def test_a_run_that_cannot_be_finished_is_reported_in_one_line(tracked, caplog):
    caplog.set_level("INFO")
    run = tracked("trainer.max_epochs=1")
    assert TEST in json.loads((run / "metrics.json").read_text())
    (line,) = [text for text in caplog.messages if "planted" in text]
    assert "the upload is not complete" in line


def test_project_and_entity_come_from_the_environment_and_secrets_reach_nothing(
    tracked, workplace, monkeypatch
):
    for name, value in {"PROJECT": "another", "ENTITY": "a-team", "API_KEY": KEY}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    origin = ["remote", "add", "origin", "https://hush-hush:x-oauth-basic@example.org/a.git"]
    commit = ["commit", "-qm", "first", "--allow-empty"]
    for words in (["init", "-q"], origin, commit, ["add", "-N", "."]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words], check=True)
        (workplace / "own.py").write_text(f"key = '{KEY}'\npassword: hush-hush\n")
    texts = ("https://me:hush-hush@a", "hf_hush-hush90123456789", f"mine is {KEY}")
    run = tracked(
        "tracking.mode=offline",
        "trainer.max_epochs=1",
        f"tracking.notes={texts[0]}",
        f"tracking.name={texts[1]}",
        f"tracking.job_type={texts[1]}",
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


def test_a_resumed_run_replaces_its_name_tags_and_notes_only_if_they_are_named(tracked):
    run = tracked("trainer.max_epochs=1", "tracking.tags=[first]", "tracking.notes=some notes")
    assert started(run)["display_name"].startswith("{{ cookiecutter.task }}")
    tracked(f"resume={run.name}", "trainer.max_epochs=2", small=())
    assert len([*run.glob("wandb/offline-run-*")]) == 2
    kept = {"display_name", "tags", "notes"}  # they may have been changed on the server
    assert not [started(run)[key] for key in kept if started(run).get(key)]
    tracked(f"resume={run.name}", "trainer.max_epochs=3", "tracking.tags=[second]", small=())
    assert started(run)["tags"] == ["second"]


def test_the_best_score_in_the_summary_of_a_resumed_run_is_that_of_all_its_sessions(tracked):
    run = tracked("trainer.max_epochs=1")
    path = run / "metrics.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(row | {MONITOR: row[MONITOR] and 2} for row in rows)
    tracked(f"resume={run.name}", "trainer.max_epochs=2")
    (last,) = [row[MONITOR] for row in history(run) if MONITOR in row]
    scores = nested(summary(run))[MONITOR]
    assert (scores["last"], scores[METRICS[MONITOR]]) == (last, 2)


def test_an_interrupt_while_the_run_starts_does_not_record_it_as_finished(
    tracked, workplace, monkeypatch
):
    start = wandb.init

    def interrupted(*words, **options):
        start(*words, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(wandb, "init", interrupted)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        tracked()
    (run,) = (workplace / "runs").iterdir()
    assert exit_code(run) == 1


def test_each_job_of_a_multirun_is_a_run(command, workplace):
    command("train", *TRACKED, *SHAPES, "-m", "seed=1,2", "trainer.max_epochs=1")
    wandb.teardown()
    runs = sorted(path for path in (workplace / "runs").iterdir() if (path / "wandb").is_dir())
    assert [started(run)["run_id"] for run in runs] == [run.name for run in runs]
    assert [config(run)["seed"] for run in runs] == [1, 2]
    assert [exit_code(run) for run in runs] == [0, 0]


def test_a_run_of_a_sweep_has_each_setting_once(tracked, workplace, monkeypatch):
    (workplace / "chosen.yaml").write_text("wandb_version: 1\noptimizer.lr: {value: 0.02}\n")
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(workplace / "chosen.yaml"))
    run = tracked("optimizer.lr=0.02", "trainer.max_epochs=1")
    stored = config(run)
    assert stored["optimizer.lr"] == 0.02
    assert "lr" not in stored["optimizer"]
    assert stored["trainer"]["max_epochs"] == 1
    assert "lr=0.02" in started(run)["display_name"]


def test_the_command_is_recorded_as_it_was_typed(recorded):
    words = shlex.split(config(recorded)["command"])
    assert words[0] == "train"
    assert {*TRACKED, "tracking.tags=[first,second]"} <= {*words}
    environment = records(recorded, "environment")[0]
    assert environment["args"] == words[1:]


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
