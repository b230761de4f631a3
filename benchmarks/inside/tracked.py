"""Milliseconds of steps and epochs with pictures: an epoch with W&B offline and one without, in turns.

The epochs are short, so that the turns are, and each step is logged, where it is each tenth else.
An epoch as long as that of the default settings is put together from its parts.
"""

import os
import signal
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from common import answer
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from shape_sorter import cli, train
from shape_sorter.training.callbacks.pictures import PredictionPictures

EPOCHS = 42
STEPS = 62  # of an epoch of the default settings
WORDS = (
    "trainer.progress=false", "trainer.log_every_n_steps=1", "loader.workers=0",
    "data.train_images=256", "data.val_images=64",
)  # fmt: skip


class Clock(Callback):
    """Switches W&B off for every other epoch, and notes how long epochs and steps take."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.steps: list[list[float]] = []
        self.kept: list[tuple[Any, str, list[Any]]] = []

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """An epoch has ended, too, with all that belongs to it."""
        if not self.kept:
            pictures = next(one for one in trainer.callbacks if isinstance(one, PredictionPictures))
            self.kept = [
                (trainer, "loggers", list(trainer.loggers)),
                (trainer, "callbacks", list(trainer.callbacks)),
                (pictures, "sinks", list(pictures.sinks)),
            ]
        tracked = len(self.epochs) % 2 == 1  # the first one does not count
        for owner, name, parts in self.kept:
            setattr(owner, name, [one for one in parts if tracked or not of_wandb(one)])
        for process in processes_of_wandb():
            os.kill(process, signal.SIGCONT if tracked else signal.SIGSTOP)
        self.epochs.append(perf_counter())
        self.steps.append([])

    def on_train_batch_end(self, *_: Any) -> None:
        """A step has ended."""
        self.steps[-1].append(perf_counter())

    def on_train_end(self, *_: Any) -> None:
        """All goes on, and the run is closed."""
        for process in processes_of_wandb():
            os.kill(process, signal.SIGCONT)


def of_wandb(part: Any) -> bool:
    """Whether it belongs to what is measured."""
    module = getattr(part, "__self__", part)  # sinks are methods
    return isinstance(part, WandbLogger) or ".tracking." in type(module).__module__


def processes_of_wandb() -> list[int]:
    """The package's own processes, which this one has started."""
    found = [os.getpid()]
    for parent in found:  # which grows
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, path.read_text("ascii").split())
    return found[1:]


def main() -> None:
    """Print the figures of both."""
    clock, usual = Clock(), train.step_callbacks
    train.step_callbacks = lambda settings: [*usual(settings), clock]
    os.environ[cli.RUN_ID] = f"benchmark-{os.getpid()}"
    sys.argv = ["train", "tracking=wandb", "tracking.mode=offline", *WORDS, f"trainer.max_epochs={EPOCHS}"]
    cli.train()
    steps = [1000 * (ends[-1] - ends[0]) / (len(ends) - 1) for ends in clock.steps[1:-1]]
    between = [
        1000 * (begun - ends[-1]) for ends, begun in zip(clock.steps[1:-1], clock.epochs[2:], strict=True)
    ]  # validation, pictures and the checkpoint
    epochs = [STEPS * step + rest for step, rest in zip(steps, between, strict=True)]
    answer(
        step_ours=steps[::2], step_floor=steps[1::2], epoch_ours=epochs[::2], epoch_floor=epochs[1::2]
    )  # fmt: skip


if __name__ == "__main__":
    main()
