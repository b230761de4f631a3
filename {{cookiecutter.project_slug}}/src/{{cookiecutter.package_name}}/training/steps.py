"""Decide whether a batch ends an optimiser step, and whether the step is logged."""

from lightning.pytorch import Trainer


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a batch, counted from 0 in its epoch, is the last of an optimiser step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def is_logging_step(trainer: Trainer, step: int) -> bool:
    """Return whether an optimiser step is the first, or a multiple of ``log_every_n_steps``.

    Lightning's loggers record the metrics of the multiples only, and the progress bar shows those
    of step 1, too. The metrics of other steps would be discarded, but to log them takes time. The
    number of a step, from 1, is ``trainer.global_step`` in ``on_train_batch_end``; before, it is
    ``trainer.global_step + 1``.
    """
    return step == 1 or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
