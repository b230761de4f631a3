"""The batch script of a generated project in a real SLURM: two nodes on this machine."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Project
from test_clusters import epochs
from test_generated import SMALL

NEEDED = ("slurmctld", "slurmd", "munged")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or not all(map(shutil.which, NEEDED)),
        reason="a SLURM of its own needs root and the packages named in tests/slurm/local.sh",
    ),
]
EPOCHS = 8
LIMIT = 300  # seconds

Slurm = Callable[..., str]


@pytest.fixture
def slurm(stripped: Project, tmp_path: Path) -> Iterator[Slurm]:
    """Run a command of SLURM in the project and return what it prints."""
    script = ROOT / "tests" / "slurm" / "local.sh"
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TRAIN_", "WANDB_"))
    }
    settings = {"SLURM_LOCAL": str(tmp_path), "SLURM_CONF": str(tmp_path / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    environ = inherited | settings | {"OMP_NUM_THREADS": "1"}

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=stripped.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    subprocess.run(["bash", script], env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield run
    finally:
        run("bash", script, "stop")


def wait_until(reached: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while not reached():
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8") if log.is_file() else "no job started"
        time.sleep(0.5)


def test_a_job_on_two_nodes_saves_before_its_time_is_up_and_goes_on_in_its_folder(
    stripped: Project, slurm: Slurm
) -> None:
    nodes = ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1")
    small = (*SMALL, "trainer.accelerator=cpu", "loader.workers=0", "trainer.log_every_n_steps=2")
    job = slurm("sbatch", "--parsable", *nodes, "slurm/train.sbatch", *small, f"trainer.max_epochs={EPOCHS}")
    run = stripped.folder / "runs" / f"slurm-{job}"
    log = stripped.folder / f"slurm-{job}.out"
    wait_until(lambda: epochs(run), log)
    slurm("scancel", "--signal=USR1", job)
    wait_until(lambda: slurm("squeue", "--noheader", "--format=%t", f"--jobs={job}") == "PD", log)
    assert len(epochs(run)) < EPOCHS
    assert not (run / "metrics.json").exists()
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until((run / "metrics.json").is_file, log)
    assert epochs(run) == list(range(EPOCHS))
