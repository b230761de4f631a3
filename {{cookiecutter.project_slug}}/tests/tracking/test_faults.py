"""Whatever goes wrong with tracking: a training's own results are never lost."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run, read_metrics
from {{ cookiecutter.package_name }}.task import MONITOR
from {{ cookiecutter.package_name }}.tracking import pictures
from {{ cookiecutter.package_name }}.tracking.client import FLUSH_SECONDS
from {{ cookiecutter.package_name }}.tracking.pending import pending
from {{ cookiecutter.package_name }}.tracking.sync import sync

from reading import artifacts, exit_code, file_of, history, logged, records, summary
from small import SHAPES
from tracked import TRACKED

QUICK = ("trainer.max_epochs=1", "tracking.init_timeout=1", "tracking.finish_timeout=3")
# Started from a shell's background, Ctrl-C would be ignored.
TRAIN = """
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
from {{ cookiecutter.package_name }}.cli import train; train()
"""


def results(run):
    """The training's own: a test score and a checkpoint."""
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert (run / "curves.png").is_file()
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("fault", ["unauthorized", "error", "hang"])
def test_a_server_that_does_not_serve_means_offline(server, tracked, caplog, fault):
    caplog.set_level("INFO")
    server.fault = fault
    run = tracked(*QUICK)
    assert results(run)
    assert len(logged(run, MONITOR)) == 1
    assert "cannot be reached" in caplog.text
    assert "wandb-sync" in caplog.text
    assert not server.runs
    assert not list(run.glob("wandb/run-*"))  # it would be uploaded as a crashed one


def test_a_server_that_nobody_runs_means_offline(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    run = tracked(*QUICK)
    assert results(run)
    assert len(logged(run, MONITOR)) == 1


def test_a_key_of_a_wrong_form_means_offline(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    run = tracked(*QUICK, "tracking.mode=online")
    assert results(run)
    assert len(logged(run, MONITOR)) == 1


def test_strict_tracking_fails_instead(server, tracked, workplace):
    server.fault = "unauthorized"
    with pytest.raises(SystemExit):
        tracked(*QUICK, "tracking.strict=true")
    assert not list(workplace.glob("runs/*/metrics.json"))


def test_a_server_that_dies_costs_nothing_but_a_later_sync(server, tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    original = pictures.TrackedPictures.send

    def dying(self, trainer, shown):
        server.die()
        original(self, trainer, shown)

    monkeypatch.setattr(pictures.TrackedPictures, "send", dying)
    run = tracked(*QUICK, "trainer.max_epochs=2")
    assert results(run)
    assert len(logged(run, MONITOR)) == 2  # all of it is on disk
    assert pending(Run(run))[-1]["artifact"] == f"model-{run.name}"
    assert "not all of it has arrived" in caplog.text


def test_a_full_disk_is_told_once_and_loses_nothing_of_the_training(
    tracked, monkeypatch, caplog, capfd
):
    caplog.set_level("INFO")
    import wandb

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    original = pictures.TrackedPictures.send

    def send_as_the_disk_is_full(self, trainer, shown):
        monkeypatch.setattr(logging.FileHandler, "flush", full)  # the package's own log
        original(self, trainer, shown)

    monkeypatch.setattr(pictures.TrackedPictures, "send", send_as_the_disk_is_full)
    monkeypatch.setattr(wandb.Image, "__init__", full)
    monkeypatch.setattr(wandb.Artifact, "add_file", full)
    run = tracked("trainer.max_epochs=2")
    assert results(run)
    assert len(logged(run, MONITOR)) == 2  # numbers still went through
    assert not artifacts(run, "model")
    assert caplog.text.count("sending images failed (OSError: [Errno 28] No space left") == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_dead_helper_process_does_not_end_the_training(workplace):
    words = [*TRACKED, *SHAPES, "trainer.max_epochs=200", "tracking.media.images=1"]
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN, *words], env=environ(), stderr=subprocess.PIPE, text=True
    )
    wait_for_a_validation(process, workplace)
    for helper in children(process.pid, "wandb-core"):
        os.kill(helper, signal.SIGKILL)
    (run,) = (workplace / "runs").iterdir()
    seen = (run / "metrics.csv").read_text().count("\n")
    wait_until(lambda: (run / "metrics.csv").read_text().count("\n") > seen + 20, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert said.count("logging failed") == 1
    assert (run / "checkpoints" / "last.ckpt").is_file()


def children(parent, name):
    """Process numbers of a process's children by that name, from Linux's table."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue  # it has ended meanwhile
        if int(words[1].split()[1]) == parent and name in words[0]:
            found.append(int(path.name))
    assert found
    return found


def environ():
    return {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}


def wait_until(reached, process):
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_for_a_validation(process, workplace):
    wait_until(lambda: recorded_epochs(workplace), process)


SIGNALS = {signal.SIGKILL: None, signal.SIGTERM: 143, signal.SIGINT: 130}


def interrupted(workplace, sent):
    """Train until there is something to lose, then send the signal; the run, its rows by then."""
    # Little is written, so that it is the clock that flushes and not a full buffer.
    little = ("trainer.log_every_n_steps=50", "tracking.media.images=0", "tracking.log_data=null")
    words = [*TRACKED, *SHAPES, "trainer.max_epochs=500", *little]
    process = subprocess.Popen([sys.executable, "-c", TRAIN, *words], env=environ())
    wait_until(lambda: list(workplace.glob("runs/*/checkpoints/last.ckpt")), process)
    (run,) = (workplace / "runs").iterdir()
    rows = len([row for row in read_metrics(run / "metrics.csv") if MONITOR in row])
    time.sleep(2 + FLUSH_SECONDS)  # what was measured before must be in W&B's file by then
    process.send_signal(sent)
    process.wait(timeout=120)
    assert (run / "checkpoints" / "last.ckpt").is_file()
    return run, rows


@pytest.mark.parametrize(("sent", "code"), SIGNALS.items())
def test_what_was_recorded_survives_a_signal(workplace, sent, code):
    run, rows = interrupted(workplace, sent)
    assert len(logged(run, MONITOR)) >= rows
    ends = [record.exit.exit_code for record in records(run) if record.HasField("exit")]
    assert ends == ([] if code is None else [code])
    if code is not None:
        assert artifacts(run, "model")
        assert summary(run)["failure"]
        assert exit_code(run) == code


@pytest.mark.parametrize(("sent", "code"), SIGNALS.items())
def test_a_server_gets_all_that_was_recorded_before_a_signal(server, workplace, sent, code):
    run, rows = interrupted(workplace, sent)
    if code is None:
        # The helper process may have sent some of it, but the file in the run folder has it all.
        assert server.runs[run.name].state == "running"
        os.utime(file_of(run), (0, 0))  # or it would be taken for a run that goes on
        assert sync(workplace / "runs") == []
    kept = server.runs[run.name]
    assert len([row for row in kept.history if MONITOR in row]) >= rows
    if code is not None:
        assert kept.state == "failed"
        assert kept.summary["failure"]
        (model,) = [one for one in server.artifacts if one.type == "model"]
        assert model.state == "COMMITTED"


def recorded_epochs(workplace):
    """How many validations the file of the run has on disk, once there is a checkpoint, too."""
    for run in workplace.glob("runs/*"):
        if (run / "checkpoints" / "last.ckpt").is_file() and list(run.glob("wandb/*/*.wandb")):
            return len([row for row in history(run) if MONITOR in row])
    return 0
