"""Whatever happens to W&B, the training keeps its own results."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
from reading import artifacts, exit_code, file_of, history, logged, summary
from shape_sorter.run.folder import read_metrics
from shape_sorter.settings.schema import MONITOR
from shape_sorter.tracking import images
from shape_sorter.tracking.sync import sync
from shape_sorter.tracking.upload_status import sessions
from small import SHAPES
from tracked import TRACKED

QUICK = ("trainer.max_epochs=1", "tracking.init_timeout=1", "tracking.finish_timeout=3")
# A shell ignores Ctrl-C in a background process, and so would the training.
TRAIN = """
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
from shape_sorter.cli import train; train()
"""


def results(run):
    """The training's own results."""
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert (run / "curves.png").is_file()
    return json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize("fault", ["unauthorized", "error", "hang", "refused", "no key"])
def test_without_a_server_that_answers_the_run_is_recorded_offline(server, tracked, caplog, monkeypatch, fault):
    caplog.set_level("INFO")
    server.fault = fault if fault not in {"refused", "no key"} else None
    if fault == "refused":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if fault == "no key":
        monkeypatch.setenv("WANDB_API_KEY", "short")
    run = tracked(*QUICK, "tracking.mode=online")
    assert results(run)
    assert len(logged(run, MONITOR)) == 1
    assert ("API key must have 40+ characters" if fault == "no key" else "CommError") in caplog.text
    assert "wandb-sync" in caplog.text
    assert not server.runs
    if server.fault:
        server.fault = None
        assert sync(run.parent) == []
        received = server.runs[run.name]
        assert (received.state, len(received.history)) == ("finished", len(history(run)))


def test_a_row_that_the_server_lacks_at_the_end_is_noticed_and_sent_later(
    server, tracked, workplace, monkeypatch, caplog
):
    caplog.set_level("INFO")
    original = wandb.Run.finish

    def finish(self, **words):
        original(self, **words)
        if not self.offline:
            del server.runs[self.id].history[-1]  # as if the connection had broken

    with monkeypatch.context() as patched:
        patched.setattr(wandb.Run, "finish", finish)
        run = tracked(*QUICK)
    assert "the upload is not complete (the server lacks 1 row). To" in caplog.text
    assert results(run)
    assert sync(workplace / "runs") == []
    recorded = sessions(run / "wandb")[0].rows
    assert {*recorded} <= {round(row["_timestamp"], 6) for row in server.runs[run.name].history}


def test_a_training_does_not_wait_for_the_upload_of_its_data(server, tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    server.fault = "storage"
    original = images.ValidationImages.send

    def send(self, trainer, samples):
        server.fault = None  # the training has begun
        original(self, trainer, samples)

    monkeypatch.setattr(images.ValidationImages, "send", send)
    run = tracked("trainer.max_epochs=1", "tracking.init_timeout=1")
    assert results(run)
    assert "the upload is not complete" not in caplog.text
    (data,) = [artifact for artifact in server.artifacts if artifact.type == "dataset"]
    assert data.state == "COMMITTED"
    assert server.runs[run.name].used == [data]
    assert list(run.glob("wandb/run-*/complete"))


def test_a_full_disk_is_reported_once(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    original = images.ValidationImages.send

    def send_when_the_disk_is_full(self, trainer, samples):
        monkeypatch.setattr(logging.FileHandler, "flush", full)  # of the package's own log
        original(self, trainer, samples)

    monkeypatch.setattr(images.ValidationImages, "send", send_when_the_disk_is_full)
    monkeypatch.setattr(wandb.Image, "__init__", full)
    monkeypatch.setattr(wandb.Artifact, "add_file", full)
    run = tracked("trainer.max_epochs=2")
    assert results(run)
    assert len(logged(run, MONITOR)) == 2  # numbers are small
    assert not artifacts(run, "model")
    assert len([text for text in caplog.messages if "failed (OSError: [Errno 28] No space left" in text]) == 1


def start(*words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    words = [sys.executable, "-c", TRAIN, *TRACKED, *SHAPES, *words]
    return subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True)


def wait_until(reached, process):
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def epochs(workplace):
    (run,) = (workplace / "runs").iterdir()
    return len([row for row in read_metrics(run / "metrics.csv") if MONITOR in row])


def test_a_dead_service_process_does_not_end_the_training(workplace):
    process = start("trainer.max_epochs=200", "tracking.media.images=1")
    wait_until(lambda: list(workplace.glob("runs/*/checkpoints/last.ckpt")), process)
    for child in children(process.pid, "wandb-core"):
        os.kill(child, signal.SIGKILL)
    seen = epochs(workplace)
    wait_until(lambda: epochs(workplace) > seen + 3, process)
    process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=120)
    assert printed.count("logging failed") == 1


def children(parent, name):
    """The ids of the child processes with that name, from Linux's process table."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            before, after = (path / "stat").read_text().rsplit(")", 1)
        except OSError:
            continue  # it has ended meanwhile
        if int(after.split()[1]) == parent and name in before:
            found.append(int(path.name))
    assert found
    return found


def interrupted(workplace, sent):
    """Train until there is a checkpoint, then send a signal.

    Returns the run folder, and the number of epochs before the signal.
    """
    process = start("trainer.max_epochs=500", "tracking.media.images=0", "tracking.log_data=null")
    wait_until(lambda: list(workplace.glob("runs/*/checkpoints/last.ckpt")), process)
    before = epochs(workplace)
    process.send_signal(sent)
    process.communicate(timeout=120)
    (run,) = (workplace / "runs").iterdir()
    return run, before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_that_is_ended_by_a_signal_is_recorded_whole(workplace, sent, code):
    run, before = interrupted(workplace, sent)
    assert len([row for row in history(run) if MONITOR in row]) >= before
    assert exit_code(run) == code
    assert summary(run)["failure"]
    assert artifacts(run, "model")


def test_a_trial_that_the_server_stops_ends_early_and_arrives_whole(server, workplace, monkeypatch):
    """As the server stops a trial of a sweep with ``early_terminate``; wandb asks every 15 seconds."""
    monkeypatch.setenv("WANDB_RUN_ID", "a-trial")
    process = start("trainer.max_epochs=2000", "tracking.media.images=0", "tracking.log_data=null")
    wait_until(lambda: list(workplace.glob("runs/*/checkpoints/last.ckpt")), process)
    server.stop.add("a-trial")
    process.communicate(timeout=300)
    received = server.runs["a-trial"]
    assert received.state == "failed"
    assert "SIGINT" in received.summary["failure"]
    assert len([row for row in received.history if MONITOR in row]) == epochs(workplace) < 2000
    assert list(workplace.glob("runs/a-trial/wandb/*/complete"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_the_server_receives_a_training_that_is_ended_by_a_signal(server, workplace, sent):
    run, before = interrupted(workplace, sent)
    received = server.runs[run.name]
    if sent == signal.SIGKILL:
        assert received.state == "running"
        os.utime(file_of(run), (0, 0))  # otherwise it is taken for a run that goes on
        assert sync(workplace / "runs") == []
        return
    assert received.state == "failed"
    assert received.summary["failure"]
    assert len([row for row in received.history if MONITOR in row]) >= before
    (model,) = [artifact for artifact in server.artifacts if artifact.type == "model"]
    assert model.state == "COMMITTED"
