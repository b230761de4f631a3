"""Give the machine back when it is asked for: save after the current step, and end."""

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

from lightning.pytorch import Callback, LightningModule, Trainer

from ...run.identity import is_first
from ..logging_step import is_logging_step

log = logging.getLogger(__name__)

# SIGTERM ends a job everywhere; SIGUSR1 is what SLURM is told to send before the time is up.
SIGNALS = [signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]


class PreemptedError(SystemExit):
    """The training has saved and ended because a signal asked for it; exit code 143."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signal.SIGTERM)
        self.signum = signum

    def __str__(self) -> str:
        return f"asked to end by {signal.Signals(self.signum).name}"


class Preemption(Callback):
    """Write ``last.ckpt`` at the end of the step in which SIGTERM or SIGUSR1 arrives, and end.

    A training that is resumed from it goes on with the next step of the same epoch. Its images are
    shuffled anew, so that some of this epoch come twice and some not at all.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.asked: int | None = None
        self.ending = False  # all processes know

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handlers, which talk to other processes while they are busy.

        Lightning itself puts back what it found before training.
        """
        for signum in SIGNALS:
            signal.signal(signum, self._note)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for the test at the end."""
        self.on_train_start(trainer, pl_module)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.asked = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and end if any of the processes was asked to.

        Raises:
            PreemptedError: after the checkpoint is written.
        """
        asked = self.asked is not None
        if trainer.world_size > 1:
            # All must stop at the same step; that is agreed on as often as something is logged.
            if not is_logging_step(trainer, trainer.global_step):
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        self.ending = True
        trainer.save_checkpoint(self.checkpoint)
        if trainer.is_global_zero:
            log.info("Asked to end: saved %s at step %d.", self.checkpoint, trainer.global_step)
        if not trainer.is_last_batch:  # else the epoch is validated first: it would never be again
            self._end()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End if that was only put off.

        Raises:
            PreemptedError: if it was.
        """
        if self.ending:
            self._end()

    def _end(self) -> None:
        raise PreemptedError(self.asked or SIGNALS[-1])

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End: all that a training has learned is saved by now.

        Raises:
            PreemptedError: at once.
        """
        if self.asked is not None:
            self._end()


@contextmanager
def requeued_if_preempted() -> Iterator[None]:
    """If the block is preempted, let SLURM start the job again, as the last action of it.

    The scheduler may end the process at any time after that.
    """
    try:
        yield
    except PreemptedError as error:
        requeue(error.signum)
        raise


def requeue(signum: int) -> None:
    """Let SLURM start the job again: its time is up (SIGUSR1), or it was evicted (SIGTERM)."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or not is_first():
        return
    try:
        if signum == signal.SIGTERM and not _is_evicted(job):
            return
        _scontrol("requeue", job)
    except (OSError, subprocess.CalledProcessError) as error:
        log.warning("Job %s is not started again: %s", job, error)


def _is_evicted(job: str) -> bool:
    """Whether another job takes its place; who cancels a job sends SIGTERM, too, and means it.

    SLURM starts an evicted job again only if it had to kill it, not if it ended by itself.
    """
    shown = _scontrol("show", "job", job)
    return "JobState=RUNNING" in shown and re.search(r"PreemptTime=\d", shown) is not None


def _scontrol(*words: str) -> str:
    return subprocess.run(  # noqa: S603 - the job's own number
        ["scontrol", *words],  # noqa: S607 - whichever the cluster has
        check=True,
        capture_output=True,
        text=True,
    ).stdout
