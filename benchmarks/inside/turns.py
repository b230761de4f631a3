"""Ours and the floor in one process, some steps each in turn: what slows the machine down slows both."""

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer


def wait() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class InTurns(Callback):
    """In a training, after every few steps, do something else that takes as many.

    Args:
        other: called with the number of steps that it is to make.
        warmup: steps of both that do not count.
        block: steps of a turn.
    """

    def __init__(self, other: Callable[[int], Any], *, warmup: int, block: int) -> None:
        self.other = other
        self.warmup = warmup
        self.block = block
        self.seen = 0
        self.began = 0.0
        self.ours: list[float] = []  # seconds of each turn
        self.floor: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """A step has ended; perhaps it is the other's turn."""
        self.seen += 1
        counted = self.seen - self.warmup
        if counted < 0 or counted % self.block:
            return
        wait()
        ended = perf_counter()
        if counted:
            self.ours.append(ended - self.began)
        self.other(self.block if counted else self.warmup)
        wait()
        self.began = perf_counter()
        if counted:
            self.floor.append(self.began - ended)


class OnAndOff(Callback):
    """In a training, switch something off after every few steps, and on again after as many.

    Args:
        switch: called with the trainer, and whether it is to be on.
        warmup: steps that do not count.
        block: steps of a turn.
    """

    def __init__(self, switch: Callable[[Trainer, bool], None], *, warmup: int, block: int) -> None:
        self.switch = switch
        self.warmup = warmup
        self.block = block
        self.seen = 0
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """A step has ended; perhaps it is time to switch."""
        self.seen += 1
        counted = self.seen - self.warmup
        if counted >= 0 and counted % self.block == 0:
            wait()
            self.ends.append(perf_counter())
            self.switch(trainer, len(self.ends) % 2 == 1)

    @property
    def turns(self) -> tuple[list[float], list[float]]:
        """Seconds of the turns with it, and of those without."""
        taken = [later - sooner for sooner, later in pairwise(self.ends)]
        pairs = len(taken) // 2
        return taken[0 : 2 * pairs : 2], taken[1 : 2 * pairs : 2]
