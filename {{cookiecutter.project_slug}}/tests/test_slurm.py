"""The scripts and the jobs for SLURM, tested without a cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.settings import hydra_launch

ROOT = Path(__file__).parents[1]

# A job as SLURM starts it: srun runs its arguments, and train prints those that it gets.
BATCH = """
srun() { "$@"; }
source slurm/train.sbatch trainer.max_epochs=7
"""


def test_scripts_are_valid_and_have_their_sbatch_options_first():
    scripts = sorted((ROOT / "slurm").iterdir())
    assert scripts
    for path in scripts:
        subprocess.run(["bash", "-n", path], check=True)
        lines = path.read_text().splitlines()
        options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
        first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        assert all(number < first for number in options)  # sbatch ignores later ones


def test_a_job_trains_with_all_its_tasks_in_a_run_that_is_named_after_it(tmp_path):
    script = tmp_path / ".venv" / "bin" / "train"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\necho "$TRAIN_RUN_ID" "$@"\n')
    script.chmod(0o755)
    (tmp_path / "slurm").symlink_to(ROOT / "slurm")
    job = {"SLURM_JOB_ID": "42", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}
    done = subprocess.run(
        ["bash", "-c", BATCH], cwd=tmp_path, env=job, capture_output=True, text=True, check=True
    )
    words = "trainer=ddp trainer.devices=4 trainer.num_nodes=2 trainer.max_epochs=7"
    assert done.stdout == f"slurm-42 {words}\n"


def test_a_job_gets_a_signal_before_its_time_limit_and_can_be_requeued():
    text = (ROOT / "slurm" / "train.sbatch").read_text()
    for option in ("--signal=USR1@120", "--requeue", "--open-mode=append"):
        assert f"#SBATCH {option}\n" in text


def test_a_multirun_is_started_as_jobs_of_slurm(monkeypatch, workplace, capsys):
    words = ["hydra/launcher=slurm", "--cfg", "hydra", "--package", "hydra.launcher"]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    cli.train()
    shown = capsys.readouterr().out
    assert "submitit_launcher.SlurmLauncher" in shown
    assert "signal_delay_s: 120" in shown


def test_the_slurm_launcher_without_its_package_says_what_to_install(monkeypatch, workplace):
    monkeypatch.setattr(hydra_launch, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["train", "-m", "hydra/launcher=slurm", "seed=1,2"])
    with pytest.raises(SystemExit) as stopped:
        cli.train()
    assert "uv sync --extra slurm" in str(stopped.value.code)
