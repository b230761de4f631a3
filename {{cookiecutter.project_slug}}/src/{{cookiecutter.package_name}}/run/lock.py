"""File locks, with which only one process at a time writes a run folder or a data set.

The holder renews the lock file regularly, since not all shared folders pass locks on to other
hosts. The lock of a process that was killed is taken over at once if this host knows that it has
ended, and otherwise when the file has not been renewed for ``LEASE_SECONDS``.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import SoftFileLease, Timeout

from ..errors import UsageError
from .folder import Run
from .processes import is_first

log = logging.getLogger(__name__)

LEASE_SECONDS = 90  # NFS may show the time that a file had a minute ago
# A context manager that waits while another process holds the lock.
file_lock = partial(SoftFileLease, lease_duration=LEASE_SECONDS, heartbeat_interval=5)


@contextmanager
def locked_run(run: Run) -> Iterator[None]:
    """Lock the folder of a run for the first process of this command, until the block ends.

    Raises:
        UsageError: if another command writes the run; the message says what to do.
    """
    if not is_first():
        yield
        return
    lock = file_lock(run.folder / "run.lock")
    try:
        lock.acquire(cancel_check=_renewed(run.folder / "run.lock"))
    except Timeout:
        owner = lock.owner
        host = owner and owner.hostname.partition("?")[0]  # without the ids of a container
        holder = f"process {owner.pid} on {host}" if owner else "another process"
        raise UsageError(
            f"The run {run.id} is being written by {holder}.\n"
            "Wait until that process ends, or end it with Ctrl-C or kill. To continue another run: "
            "resume=RUN_ID.\nWithout resume, train starts a new run."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _renewed(path: Path) -> Callable[[], bool]:
    """Return a function that returns whether a file was renewed after the first call."""
    times: list[float] = []

    def check() -> bool:
        with suppress(FileNotFoundError):  # the lock has been released meanwhile
            times.append(path.stat().st_mtime)
            if len(times) == 1:
                log.info("%s exists: waiting to see if its process still runs.", path)
        return len({*times}) > 1

    return check
