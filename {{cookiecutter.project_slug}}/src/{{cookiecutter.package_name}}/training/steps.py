"""Decide whether a batch ends an optimiser step, and whether the step is logged."""

from lightning.pytorch import Trainer


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a batch is the last one of an optimiser step.

    Args:
        trainer: its ``accumulate_grad_batches`` is the number of batches of a step.
        batch_idx: the number of the batch in its epoch, from 0.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def is_logging_step(trainer: Trainer, step: int) -> bool:
    """Return whether a step is the first, or a multiple of ``log_every_n_steps``.

    Lightning's loggers record the metrics of the multiples only, and the progress bar shows those
    of step 1, too. The metrics of other steps would be discarded, but to log them takes time.

    Args:
        trainer: its ``log_every_n_steps`` is used.
        step: the number of the optimiser step, from 1: ``trainer.global_step + 1`` during a step,
            and ``trainer.global_step`` in ``on_train_batch_end``.
    """
    return step == 1 or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
