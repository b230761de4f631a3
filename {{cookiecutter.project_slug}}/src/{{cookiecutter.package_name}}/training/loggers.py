"""The one seam for an experiment tracker: loggers and callbacks that the config names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.utils import get_method
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from ..run.folder import Run
from ..settings.tree import Settings

Followers = tuple[Sequence[Logger], Sequence[Callback]]


@contextmanager
def tracked(settings: Settings, run: Run, *, job: str) -> Iterator[Followers]:
    """Open what ``tracking._target_`` names, hand out its loggers and callbacks, close it.

    Args:
        settings: with ``tracking=none`` nothing is opened.
        run: whose id the tracker takes.
        job: what is going on: train, evaluate or predict.
    """
    if settings.tracking is None:
        yield [], []
        return
    with get_method(settings.tracking.target)(settings, run, job=job) as followers:
        yield followers
