"""Milliseconds of a step and of an epoch with pictures: with W&B offline, or without."""

import os
import statistics
import sys
from itertools import pairwise
from time import perf_counter
from typing import Any

from common import answer
from lightning.pytorch import Callback
from shape_sorter import cli, train

EPOCHS = 5
WORDS = ("trainer.progress=false", "loader.workers=0", "data.train_images=640", "data.val_images=64")


class Clock(Callback):
    """Notes when epochs and steps end."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.steps: list[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """An epoch has ended, too, with all that belongs to it."""
        self.epochs.append(perf_counter())
        self.steps.append([])

    def on_train_batch_end(self, *_: Any) -> None:
        """A step has ended."""
        self.steps[-1].append(perf_counter())


def main(which: str) -> None:
    """Print the figures of one of the two."""
    clock, usual = Clock(), train.step_callbacks
    train.step_callbacks = lambda settings: [*usual(settings), clock]
    tracking = ("tracking=wandb", "tracking.mode=offline") if which == "ours" else ("tracking=none",)
    os.environ[cli.RUN_ID] = f"benchmark-{which}-{os.getpid()}"
    sys.argv = ["train", *tracking, *WORDS, f"trainer.max_epochs={EPOCHS}"]
    cli.train()
    whole = [later - sooner for sooner, later in pairwise(clock.epochs[1:])]
    gaps = [b - a for ends in clock.steps[1:] for a, b in pairwise(ends)]
    answer(step=1000 * statistics.median(gaps), epoch=1000 * statistics.median(whole))


if __name__ == "__main__":
    main(*sys.argv[1:])
