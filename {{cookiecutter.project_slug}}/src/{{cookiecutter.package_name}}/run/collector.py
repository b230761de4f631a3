"""Python's garbage collector, at rest where it only costs time."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_resting() -> Iterator[None]:
    """Do what makes many objects that stay without looking through them again and again.

    Reading a large file of annotations takes half the time.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if worked:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Import PyTorch and all that comes with it a fifth faster, and leave it alone afterwards.

    What it brings stays until the end, so the collector need never look through it. Done once: what
    an earlier job of a multirun has left is to be collected.
    """
    if "torch" in sys.modules:
        yield
        return
    with collector_resting():
        yield
        gc.freeze()
    atexit.register(gc.unfreeze)  # or extension modules report at the end what was not collected
