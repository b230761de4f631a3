"""Which training steps are logged."""

from lightning.pytorch import Trainer


def is_logging_step(trainer: Trainer, step: int) -> bool:
    """Whether a training step is logged: the first, and each multiple of ``log_every_n_steps``.

    Lightning drops what other steps log, but takes about one percent of a step to do so.

    Args:
        trainer: knows ``log_every_n_steps``.
        step: number of the optimiser step, from 1. While a step runs it is
            ``trainer.global_step + 1``, and ``trainer.global_step`` from ``on_train_batch_end`` on.
    """
    return step == 1 or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
