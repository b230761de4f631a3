"""The steps of a training run: which ones are logged, and what a module logs in them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor


def ends_step(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a batch, counted from 0 in its epoch, is the last of an optimiser step."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch


def is_logging_step(trainer: Trainer, step: int) -> bool:
    """Return whether an optimiser step is the first, or a multiple of ``log_every_n_steps``.

    The metrics of other steps would be discarded, but to log them takes time. The number of a step,
    from 1, is ``trainer.global_step`` in ``on_train_batch_end``, and one more than that before.
    """
    return step == 1 or step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]


def log_losses(module: LightningModule, batch_size: int, **losses: Tensor) -> None:
    """Log the mean losses of the batches of a step so far as ``train/<name>``, if it is logged."""
    trainer = module.trainer
    if is_logging_step(trainer, module.global_step + 1):
        sums: dict[str, Tensor] = {}
        batches = 1  # of the step
        # A resumed run that accumulates more batches than before may begin within a step.
        if trainer.fit_loop.batch_idx % trainer.accumulate_grad_batches and hasattr(module, "sums"):
            sums, batches = module.sums, module.batches + 1  # type: ignore[assignment,operator]
        sums = {key: sums.get(key, 0) + loss.detach() for key, loss in losses.items()}
        module.sums, module.batches = sums, batches  # type: ignore[assignment]
        means = {f"train/{key}": total / batches for key, total in sums.items()}
        module.log_dict(means, batch_size=batch_size, on_step=True, on_epoch=False)


def log_scores(module: LightningModule, split: str, scores: Mapping[str, Any]) -> None:
    """Log scores as ``<split>/<name>``; the progress bar shows that of ``monitor``."""
    settings: Any = module.settings
    for name, score in scores.items():
        module.log(f"{split}/{name}", score, prog_bar=f"{split}/{name}" == settings.monitor)
