"""Log a summary of a training run when it starts."""

import logging
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

from ..data.reading_summary import number_of
from ..run.folder import Run
from ..run.processes import is_first
from ..settings.schema import Settings, model_name

log = logging.getLogger(__name__)

TASK = "{{ {'classification': 'Image classification', 'detection': 'Object detection', 'segmentation': 'Semantic segmentation'}[cookiecutter.task] }}"
BATCHES = {"limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches"}
ALL = {"1.0", "0", "0.0"}  # values of these settings with which all batches are used


def log_start(
    settings: Settings, run: Run, module: Any, trainer: Trainer, *, trackers: Sequence[Logger]
) -> None:
    """Log the task, the model, the device and the run; the data have lines of their own."""
    if not is_first():
        return
    name = model_name(settings.model.model_dump())
    classes = number_of(len(module.classes), "classes")
    total = sum(part.numel() for part in module.parameters())
    # ~ if cookiecutter.scope == "complete"
    trained = sum(p.numel() for p in module.parameters() if p.requires_grad)
    frozen = "" if trained == total else f", {trained / 1e6:.1f} of them trained"
    log.info(
        "%s of %s: %s, %.1f million parameters%s.",
        *(TASK, classes, name, total / 1e6, frozen),
    )
    if frozen and not settings.model.pretrained and settings.init is None:
        log.warning(
            "model.freeze=%s keeps random weights. For trained weights: model.pretrained=true",
            settings.model.freeze,
        )
    # ~ else
    log.info("%s of %s: %s, %.1f million parameters.", TASK, classes, name, total / 1e6)
    # ~ endif
    device, processes = trainer.strategy.root_device.type, trainer.world_size
    log.info("Device: %s%s, %s.", f"{processes} x " * (processes > 1), device, trainer.precision)
    chosen = settings.trainer.model_dump(include=BATCHES)
    # 1.0 stands for all batches, but 1 for a single batch.
    limits = [f"trainer.{name}={value}" for name, value in chosen.items() if f"{value}" not in ALL]
    if limits:
        log.info("Only a part of these images is used: %s.", ", ".join(limits))
    names = ", ".join(map(_name_of, trackers))
    log.info("Run: %s; tracking: %s.", run.folder, names or "none")


def _name_of(tracker: Logger) -> str:
    """Return the name of Lightning's logger, of which a tracker may be a subclass."""
    kinds = type(tracker).__mro__
    known = next(kind for kind in kinds if kind.__module__.startswith("lightning."))
    return (kinds[0] if known is Logger else known).__name__.removesuffix("Logger")
