"""Save a checkpoint and end training on a signal, so that training can be resumed."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..run.processes import is_first
from ..run.signals import Interrupted
from ..training.steps import ends_step, is_logging_step
from .slurm import requeue

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

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the signal handlers for the test that follows training."""
        self.on_train_start(trainer, pl_module)

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
        if not ending:
            return
        self.ending = True
        # After the last batch, a checkpoint is saved when the epoch has been validated: training
        # that is resumed from a checkpoint of this moment would not run the validation.
        if not trainer.is_last_batch:
            trainer.save_checkpoint(self.checkpoint)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Raise a PreemptedError after a signal, when the previous step has been logged."""
        if self.ending:
            if trainer.is_global_zero:
                log.info("Saved %s at step %d; ending.", self.checkpoint, trainer.global_step)
            raise PreemptedError(self.received or SIGNALS[-1])

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Raise a PreemptedError after a signal; the training has saved its checkpoint."""
        if self.received is not None or self.ending:
            raise PreemptedError(self.received or SIGNALS[-1])


@contextmanager
def requeued_if_preempted() -> Iterator[None]:
    """Requeue the SLURM job if the block raises ``PreemptedError``.

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
