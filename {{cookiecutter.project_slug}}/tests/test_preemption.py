"""After a signal, training saves a checkpoint, ends, and can be continued in the same folder."""

import csv
import os
import signal

import pytest
import torch

from {{ cookiecutter.package_name }}.clusters.preemption import Preemption, requeue
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.schema import MONITOR

STEPS = 4  # an epoch, of 40 images in batches of 10


def steps_of(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]


def rows_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(run):
    return [int(row["epoch"]) for row in rows_of(run) if row.get(MONITOR)]


@pytest.fixture
def ask(monkeypatch):
    """Send a signal to the training process at the beginning of a step."""
    # Tests that run in the background ignore Ctrl-C otherwise.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def at(step, signum):
        def send(self, trainer, *_):
            if trainer.global_step == step:
                os.kill(os.getpid(), signum)

        monkeypatch.setattr(Preemption, "on_before_optimizer_step", send)

    yield at
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("step", [STEPS + 1, 2 * STEPS - 1])
def test_training_saves_a_checkpoint_after_a_signal_and_can_be_resumed(
    train, workplace, ask, caplog, signum, step
):
    caplog.set_level("INFO")
    before = signal.getsignal(signal.SIGTERM)
    ask(step, signum)
    with pytest.raises(SystemExit) as ended:
        train("trainer.max_epochs=3")
    assert ended.value.code == (130 if signum == signal.SIGINT else 143)
    assert signal.getsignal(signal.SIGTERM) == before
    (run,) = (workplace / "runs").iterdir()
    assert f"{run.name}/checkpoints/last.ckpt at step {step + 1}; ending." in caplog.text
    assert steps_of(run) == step + 1
    assert int(rows_of(run)[-1]["step"]) == step
    assert not (run / "metrics.json").exists()
    ask(-1, signum)
    assert train("resume=auto", "trainer.max_epochs=3") == run.relative_to(workplace)
    assert steps_of(run) == 3 * STEPS
    assert epochs_of(run) == [0, 1, 2]
    assert (run / "metrics.json").is_file()


def test_a_requeued_job_continues_the_run_of_its_id(train, workplace, ask, monkeypatch):
    monkeypatch.setattr(hydra_launch, "agreed_run_id", lambda _: "job-7")
    ask(STEPS + 1, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train("trainer.max_epochs=2")
    ask(-1, signal.SIGUSR1)
    train("trainer.max_epochs=2")
    (run,) = (workplace / "runs").iterdir()
    assert run.name == "job-7"
    assert epochs_of(run) == [0, 1]


SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then cat {folder}/shown; else echo "$@" >> {folder}/asked; fi
"""


@pytest.fixture
def requeued(tmp_path, monkeypatch):
    """Replace scontrol by a script; return the commands that it was called with."""
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(SCONTROL.format(folder=tmp_path))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    asked = tmp_path / "asked"
    return lambda: asked.read_text() if asked.exists() else ""


def test_a_job_that_reaches_its_time_limit_is_requeued(train, ask, requeued):
    ask(1, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train()
    assert requeued() == "requeue 42\n"


RUNNING = "JobState=RUNNING Reason=None\n   PreemptTime="
EVICTED = f"{RUNNING}2026-11-24T19:09:13 LastSchedEval=2026-11-24T19:09:10\n"


def test_a_preempted_job_is_requeued(requeued, tmp_path):
    (tmp_path / "shown").write_text(EVICTED)
    requeue(signal.SIGTERM)
    assert requeued() == "requeue 42\n"


def test_a_cancelled_job_is_not_requeued(requeued, tmp_path, monkeypatch):
    for shown in (f"{RUNNING}None LastSchedEval=Unknown\n", EVICTED.replace("RUNN", "COMPLET")):
        (tmp_path / "shown").write_text(shown)
        requeue(signal.SIGTERM)
    monkeypatch.setenv("SLURM_PROCID", "1")
    requeue(signal.SIGUSR1)  # only the first process requeues the job
    monkeypatch.delenv("SLURM_PROCID")
    monkeypatch.delenv("SLURM_JOB_ID")
    requeue(signal.SIGUSR1)
    assert requeued() == ""


def test_a_job_that_cannot_be_requeued_is_reported(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    requeue(signal.SIGUSR1)
    assert "Job 42 could not be put back into the queue" in caplog.text


def test_a_signal_ends_the_test_after_training_and_resuming_repeats_it(
    train, workplace, monkeypatch
):
    def send(self, *_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Preemption, "on_test_batch_start", send)
    with pytest.raises(SystemExit) as ended:
        train()
    assert ended.value.code == 143
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    run = train("resume=auto")
    assert epochs_of(run) == [0, 1]
    assert (run / "metrics.json").is_file()
