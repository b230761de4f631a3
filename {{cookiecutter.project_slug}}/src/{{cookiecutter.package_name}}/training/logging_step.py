"""Decide whether a batch ends an optimiser step, and whether the step is logged."""

from lightning.pytorch import Trainer


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether the optimiser makes a step after a batch, see ``accumulate_grad_batches``.

    Args:
        trainer: a trainer in ``on_train_batch_end``.
        batch_idx: the number of the batch in its epoch, from 0.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def is_logging_step(trainer: Trainer, step: int) -> bool:
    """Return whether a step is logged: step 1 and each multiple of ``log_every_n_steps``.

    The progress bar shows both, the loggers record the multiples. Lightning discards the values of
    other steps, but this takes about 1 % of the time of a step.

    Args:
        trainer: its ``log_every_n_steps`` is used.
        step: the number of the optimiser step, from 1: ``trainer.global_step + 1`` during a step,
            and ``trainer.global_step`` in ``on_train_batch_end``.
    """
    return step == 1 or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
