"""Python's garbage collector, at rest where it only costs time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_resting() -> Iterator[None]:
    """Do what makes many objects that stay without looking through them again and again.

    Importing PyTorch takes a fifth less, reading a large file of annotations half.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if worked:
            gc.enable()
