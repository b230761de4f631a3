"""Let SLURM start a preempted job again."""

import logging
import os
import re
import signal
import subprocess

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ..run.identity import is_first

log = logging.getLogger(__name__)


def slurm_plugins() -> list[SLURMEnvironment]:
    """Return Lightning's plugin for SLURM without Lightning's own requeueing; else nothing."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []


def requeue(signum: int) -> None:
    """Put this job back into SLURM's queue; outside SLURM, do nothing.

    Args:
        signum: the signal that ended the training. SIGUSR1: the time limit of the job is near.
            SIGTERM: the job is put back only if it was evicted, not if it was cancelled.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not is_first():
        return
    try:
        if signum == signal.SIGTERM and not _is_evicted(job):
            return
        _scontrol("requeue", job)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("Job %s could not be put back into the queue: %s", job, error)


def _is_evicted(job: str) -> bool:
    """Whether another job takes the place of this job; ``scancel`` sends SIGTERM as well.

    SLURM itself requeues an evicted job only if it had to kill the job.
    """
    status = _scontrol("show", "job", job)
    return "JobState=RUNNING" in status and re.search(r"PreemptTime=\d", status) is not None


def _scontrol(*arguments: str) -> str:
    return subprocess.run(  # noqa: S603 - the number of this job
        ["scontrol", *arguments],  # noqa: S607 - found on the path of the cluster
        check=True,
        capture_output=True,
        text=True,
    ).stdout
