"""Save a checkpoint and end training on a signal, and put a SLURM job back into the queue."""

import logging
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from ..run.processes import is_first
from ..run.signals import Interrupted
from ..training.steps import ends_step, is_logging_step

log = logging.getLogger(__name__)

# Schedulers send SIGTERM to end a job; slurm/train.sbatch requests SIGUSR1 before the time limit.
SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]


class PreemptedError(Interrupted):
    """Training has saved a checkpoint and ended because of a signal, also after Ctrl-C.

    The exit code is 130 after Ctrl-C, otherwise 143, whichever signal a scheduler sends.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.code = 128 + (signum if signum == signal.SIGINT else signal.SIGTERM)


class Preemption(Callback):
    """Save ``last.ckpt`` and end training after the step in which a signal arrives.

    The signals are Ctrl-C, SIGTERM and SIGUSR1. Another Ctrl-C ends training at once. Training that
    is resumed from this checkpoint continues with the next step of the same epoch. After the last
    step of an epoch, training ends when the epoch has been validated and saved.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.received: int | None = None  # the signal that this process has received
        self.ending = False  # whether all processes have agreed to end
        self.process = os.getpid()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers, which may start collective calls at any time.

        Lightning restores the original handlers when training ends.
        """
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:  # a background job ignores Ctrl-C
                signal.signal(signum, self._receive)

    on_test_start = on_train_start  # of the test that follows training

    def _receive(self, signum: int, _frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            return  # a process that loads images: the main process ends it
        if signum == signal.SIGINT:
            if self.received == signum:
                raise Interrupted(signum)
            if is_first():
                moment = b"this step, or with several processes after the next logged step"
                os.write(2, b"\nEnding after " + moment + b". Another Ctrl-C ends at once.\n")
        self.received = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save a checkpoint if any process has received a signal."""
        if not ends_step(trainer, batch_idx):
            return
        ending = self.received is not None
        if trainer.world_size > 1:
            # All processes must end after the same step, so they communicate at logging steps only.
            if not is_logging_step(trainer, trainer.global_step):
                return
            ending = trainer.strategy.reduce_boolean_decision(ending, all=False)
        self.ending = ending
        # After the last batch, a checkpoint is saved when the epoch has been validated: training
        # that is resumed from a checkpoint of this moment would not run the validation.
        if ending and not trainer.is_last_batch:
            trainer.save_checkpoint(self.checkpoint)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Raise a PreemptedError after a signal, when the previous step has been logged."""
        if self.ending:
            if trainer.is_global_zero:
                log.info("Saved %s at step %d; ending.", self.checkpoint, trainer.global_step)
            raise PreemptedError(self.received or SIGNALS[-1])

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Raise a PreemptedError after a signal; the training has saved its checkpoint."""
        if self.received is not None or self.ending:
            raise PreemptedError(self.received or SIGNALS[-1])


@contextmanager
def requeued_if_preempted() -> Iterator[None]:
    """Put the SLURM job back into the queue if the block raises ``PreemptedError``.

    Outside of training and test, SIGUSR1 is ignored. Requeuing must be the last action of the job,
    since SLURM may end the process at any time after it.
    """
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: None)  # not SIG_IGN, see ``on_train_start``
    try:
        yield
    except PreemptedError as error:
        requeue(error.signum)
        raise


def requeue(signum: int) -> None:
    """Put this SLURM job back into the queue; do nothing outside of SLURM.

    SIGUSR1 means that the time limit is near. After another signal, the job is requeued only if it
    was preempted: ``scancel`` sends SIGTERM as well, and SLURM itself requeues only jobs that it
    has to kill.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not is_first():
        return
    try:
        if signum != signal.SIGUSR1:
            status = _scontrol("show", "job", job)
            if "JobState=RUNNING" not in status or not re.search(r"PreemptTime=\d", status):
                return
        _scontrol("requeue", job)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("Job %s could not be put back into the queue: %s", job, error)


def _scontrol(*arguments: str) -> str:
    command = ["scontrol", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - the job id comes from SLURM


def slurm_plugins() -> list[SLURMEnvironment]:
    """Return Lightning's SLURM plugin without automatic requeueing, or [] outside of SLURM."""
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []
