"""Requeue preempted SLURM jobs."""

import logging
import os
import re
import signal
import subprocess

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..run.processes import is_first

log = logging.getLogger(__name__)


def slurm_plugins() -> list[SLURMEnvironment]:
    """Return Lightning's SLURM plugin without automatic requeueing, or [] outside of SLURM."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []


def requeue(signum: int) -> None:
    """Requeue this SLURM job; do nothing outside of SLURM.

    Args:
        signum: the signal that ended training. SIGUSR1 means that the time limit is near. After
            another signal, the job is requeued only if it was preempted, not if it was cancelled.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not is_first():
        return
    try:
        if signum != signal.SIGUSR1 and not _is_preempted(job):
            return
        _scontrol("requeue", job)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("Job %s could not be put back into the queue: %s", job, error)


def _is_preempted(job: str) -> bool:
    """Return whether SLURM has preempted the job; ``scancel`` sends SIGTERM as well.

    SLURM itself requeues a preempted job only if it has to kill the job.
    """
    status = _scontrol("show", "job", job)
    return "JobState=RUNNING" in status and re.search(r"PreemptTime=\d", status) is not None


def _scontrol(*arguments: str) -> str:
    return subprocess.run(  # noqa: S603 - the job id comes from SLURM
        ["scontrol", *arguments],  # noqa: S607 - a cluster has scontrol in its PATH
        check=True,
        capture_output=True,
        text=True,
    ).stdout
