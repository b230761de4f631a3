"""Somebody wants the machine back: what was learned is saved, and goes on in the same folder."""

import csv
import os
import signal

import pytest
import torch

from {{ cookiecutter.package_name }}.clusters.preemption import Preemption
from {{ cookiecutter.package_name }}.clusters.slurm import requeue
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
    """Send a signal to the training itself, at the beginning of a step."""
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
def test_a_training_saves_and_ends_within_an_epoch_and_goes_on(
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


def test_a_run_whose_id_is_given_goes_on_by_itself(train, workplace, ask, monkeypatch):
    """As a job does that SLURM has started again."""
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
    """What scontrol was asked for, by a stand-in for it."""
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(SCONTROL.format(folder=tmp_path))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    asked = tmp_path / "asked"
    return lambda: asked.read_text() if asked.exists() else ""


def test_a_job_whose_time_is_up_is_started_again(train, ask, requeued):
    ask(1, signal.SIGUSR1)
    with pytest.raises(SystemExit):
        train()
    assert requeued() == "requeue 42\n"


RUNNING = "JobState=RUNNING Reason=None\n   PreemptTime="
EVICTED = f"{RUNNING}2026-11-24T19:09:13 LastSchedEval=2026-11-24T19:09:10\n"


def test_a_job_that_was_evicted_is_too(requeued, tmp_path):
    (tmp_path / "shown").write_text(EVICTED)
    requeue(signal.SIGTERM)
    assert requeued() == "requeue 42\n"


def test_a_job_that_was_cancelled_is_not(requeued, tmp_path, monkeypatch):
    for shown in (f"{RUNNING}None LastSchedEval=Unknown\n", EVICTED.replace("RUNN", "COMPLET")):
        (tmp_path / "shown").write_text(shown)
        requeue(signal.SIGTERM)
    monkeypatch.setenv("SLURM_PROCID", "1")
    requeue(signal.SIGUSR1)  # the first of the processes does it, once
    monkeypatch.delenv("SLURM_PROCID")
    monkeypatch.delenv("SLURM_JOB_ID")
    requeue(signal.SIGUSR1)
    assert requeued() == ""


def test_a_cluster_that_cannot_start_it_again_is_told(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    requeue(signal.SIGUSR1)
    assert "Job 42 could not be put back into the queue" in caplog.text


def test_a_test_at_the_end_ends_at_once_and_is_made_up_for(train, workplace, monkeypatch):
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
