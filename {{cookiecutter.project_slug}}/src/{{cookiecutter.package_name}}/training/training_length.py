"""The number of epochs, from the size of the training split, and advice to train longer."""

import math

import torch

from ..data.datamodule import Datasets
from ..data.reading_summary import number_of
from ..run.failures import resume_command
from ..run.folder import Run, read_metrics
from ..settings.data import ShapesSettings
from ..settings.schema import METRICS, Settings

# Optimiser steps from which the default number of epochs is derived.
STEPS = {{ {'classification': 800, 'detection': 500, 'segmentation': 1000}[cookiecutter.task] }}
EPOCHS = (10, 200)  # the fewest and the most epochs
# The generated shapes are learned sooner.
# ~ if cookiecutter.task == "classification"
SHAPES_EPOCHS = 10
# ~ else
SHAPES_EPOCHS = 4
# ~ endif
# A lower score after fewer steps than STEPS means that the training was too short.
POOR = {{ {'classification': 0.8, 'detection': 0.3, 'segmentation': 0.4}[cookiecutter.task] }}
RISING = 1.05  # a score that has grown by this factor at the end was still rising


def with_epochs(
    settings: Settings, datasets: Datasets, *, step: int = 0, epochs: int = 0
) -> Settings:
    """Return the settings with a number of epochs if ``trainer.max_epochs`` is null.

    It is the number for ``trainer.max_steps`` or, without this limit, for about ``STEPS`` optimiser
    steps. A resumed run has made ``step`` steps and begun ``epochs`` epochs.
    """
    if settings.trainer.max_epochs is not None:
        return settings
    batches = len(datasets.train) // (settings.loader.batch_size * _processes(settings))
    limit = settings.trainer.overfit_batches or settings.trainer.limit_train_batches
    batches = max(1, min(batches, limit) if isinstance(limit, int) else int(batches * limit))
    steps = math.ceil(batches / settings.trainer.accumulate_grad_batches)
    if settings.trainer.max_steps is not None:
        epochs += max(0, math.ceil((settings.trainer.max_steps - step) / steps))
    elif isinstance(settings.data, ShapesSettings):
        epochs = SHAPES_EPOCHS
    else:
        epochs = min(max(math.ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
        datasets.reading.note(
            f"The training has {epochs} epochs of {number_of(steps, 'steps')}, since train has "
            f"{number_of(len(datasets.train), 'images')}. "
            "To change it: trainer.max_epochs=<number>"
        )
    trainer = settings.trainer.model_copy(update={"max_epochs": epochs})
    return settings.model_copy(update={"trainer": trainer})


def _processes(settings: Settings) -> int:
    """Return the number of processes that share the images of a training run."""
    chosen = settings.trainer
    text = str(chosen.devices)
    if "," in text:  # the indices of the devices
        devices = len(text.strip(",").split(","))
    elif text.isdecimal():
        devices = int(text)
    else:  # auto or all
        devices = 1 if chosen.accelerator == "cpu" else torch.cuda.device_count()
    return max(1, devices){{ " * chosen.num_nodes" if cookiecutter.scope == "complete" }}


# ~ if cookiecutter.scope == "complete"
def _multiplied(time: str, factor: float) -> str:
    """Multiply a time limit, which is written as days:hours:minutes:seconds."""
    days, hours, minutes, seconds = map(int, time.split(":"))
    total = math.ceil(factor * (((24 * days + hours) * 60 + minutes) * 60 + seconds))
    hours, rest = divmod(total, 3600)
    return f"{hours // 24:02}:{hours % 24:02}:{rest // 60:02}:{rest % 60:02}"


# ~ endif
def too_short(settings: Settings, run: Run) -> str | None:
    """Return advice to train longer, else None.

    It is given if the best score is below ``POOR`` or there is none after fewer than ``STEPS``
    optimiser steps, or if the score has risen by ``RISING`` in the last fifth of the epochs.
    """
    name = settings.monitor
    written = read_metrics(run.metrics)
    rows = [row for row in written if name in row]
    trained = [row for row in written if "train/loss_epoch" in row or name in row]
    limit = settings.trainer.overfit_batches or settings.trainer.limit_train_batches
    if not trained or METRICS[name] != "max" or isinstance(limit, int) or limit < 1:
        return None
    scores, steps = [row[name] for row in rows], 1 + int(trained[-1]["step"])
    best, end = max(scores, default=0.0), len(scores) - max(1, len(scores) // 5)
    if not scores and steps < STEPS:
        reason = f"There was no validation in {number_of(steps, 'optimiser steps')}."
    elif best < POOR and steps < STEPS:
        reason = (
            f"The best {name} is {best:.3g} after {number_of(steps, 'optimiser steps')}; the "
            f"default for own data aims at {STEPS}."
        )
    elif end > 0 and max(scores[end:]) > RISING * max(scores[:end]):
        reason = f"{name} was still rising when the training ended."
    else:
        return None
    words, factor = [resume_command(run)], max(2.0, STEPS / steps)
    for limited, done in (("max_epochs", 1 + int(trained[-1]["epoch"])), ("max_steps", steps)):
        allowed, aim = getattr(settings.trainer, limited), math.ceil(factor * done)
        if allowed is not None and allowed < aim:
            words.append(f"trainer.{limited}={aim}")
    # ~ if cookiecutter.scope == "complete"
    if settings.trainer.max_time is not None:  # counts from the start of the run
        words.append(f"trainer.max_time={_multiplied(settings.trainer.max_time, factor)}")
    # ~ endif
    patience = settings.trainer.patience
    if patience is not None and scores and len(scores) - 1 - scores.index(best) >= patience:
        words.append(f"trainer.patience={2 * patience}")
    return f"{reason} To train longer:\n  {' '.join(words)}"
