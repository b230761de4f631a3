# ~ if cookiecutter.scope == "complete"
"""File locks, with which only one process at a time writes a run folder or a data set.

A lock is a file with the host and the process id of its holder. The operating system releases it
when the holder ends, even if it is killed. Some shared folders do not pass locks on to other hosts.
The holder therefore updates the modification time of the file every ``HEARTBEAT_SECONDS``; another
host takes the lock if that time is older than ``STALE_SECONDS``.
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ..errors import UsageError
from .folder import Run
from .processes import is_first

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15
STALE_SECONDS = 90  # NFS may show the time that a file had a minute ago


class LockedError(UsageError):
    """Another process holds the lock, and the message names it."""


@contextmanager
def locked_run(run: Run) -> Iterator[None]:
    """Lock a run until the block ends, in the first process; refuse a run that another writes."""
    if not is_first():
        yield
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = _acquire(run.folder / "run.lock")
    except LockedError as error:
        raise LockedError(
            f"The run {run.id} is being written by {error}.\n"
            "Wait until that process ends, or end it with Ctrl-C or kill. To continue another run: "
            "resume=RUN_ID.\nWithout resume, train starts a new run."
        ) from None
    with _held(lock):
        yield


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock ``path`` until the block ends; wait for it while another process holds it."""
    while True:
        try:
            lock = _acquire(path)
            break
        except LockedError:
            time.sleep(0.2)
    with _held(lock):
        yield


def _acquire(path: Path) -> IO[str]:
    """Lock a file and write the holder into it, or raise a LockedError with another holder."""
    here = socket.gethostname()
    while True:
        file = path.open("a+", encoding="utf-8")
        locked = _lock(file)
        file.seek(0)
        text = file.read()
        # The lock excludes processes on this host, but perhaps not those on other hosts.
        reliable = locked and (not text or _holder(text).get("host") == here)
        if locked is False or (not reliable and text and _is_renewed(path, text)):
            file.close()
            raise LockedError(_description(text))
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # its last holder has removed the file after it was opened
    file.truncate(0)
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    json.dump({"host": here, "pid": os.getpid(), "since": since}, file)
    file.flush()
    return file


def _lock(file: IO[str]) -> bool | None:
    """Lock an open file; return whether it is locked, and None if the system has no locks."""
    if sys.platform == "win32":
        return None
    try:
        # Not flock: processes that load images would inherit the lock of a killed training run.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _is_renewed(path: Path, text: str) -> bool:
    """Wait up to ``STALE_SECONDS``; return whether the holder on another host updates the file."""
    with suppress(FileNotFoundError):  # released meanwhile
        renewed = path.stat().st_mtime
        with TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime  # by the clock of the file server
        age = min(max(now - renewed, 0), STALE_SECONDS)
        end = time.monotonic() + STALE_SECONDS - age
        if age < STALE_SECONDS:
            words = (path, _description(text), STALE_SECONDS)
            log.info("%s is locked by %s: waiting %d seconds to see if it still runs.", *words)
        while time.monotonic() < end:
            time.sleep(STALE_SECONDS / 90)
            if path.stat().st_mtime != renewed:
                return True
    return False


@contextmanager
def _held(file: IO[str]) -> Iterator[None]:
    """Renew the time of a locked file until the block ends, then remove the file."""
    path, ended = Path(file.name), threading.Event()

    def renew() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                os.utime(path)

    if sys.platform == "win32":
        file.close()  # Windows removes no open file
    threading.Thread(target=renew, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        with suppress(OSError):  # the folder may be gone
            path.unlink()
        file.close()


def _holder(text: str) -> dict[str, object]:
    with suppress(ValueError):
        holder = json.loads(text)
        if isinstance(holder, dict):
            return holder
    return {}


def _description(text: str) -> str:
    holder = _holder(text)
    if not holder:
        return "another process"  # it has not written the file yet
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
# ~ else
"""File locks, with which only one process at a time writes a run folder or a data set."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from ..errors import UsageError
from .folder import Run
from .processes import is_first

file_lock = FileLock  # a context manager that waits while another process holds the lock


@contextmanager
def locked_run(run: Run) -> Iterator[None]:
    """Lock a run until the block ends, in the first process; refuse a run that another writes."""
    if not is_first():
        yield
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / "run.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = path.read_text(encoding="utf-8") if path.is_file() else ""
        raise UsageError(
            f"The run {run.id} is being written by {holder or 'another process'}.\n"
            "Wait until that process ends, or end it with Ctrl-C or kill. To continue another run: "
            "resume=RUN_ID.\nWithout resume, train starts a new run."
        ) from None
    with suppress(PermissionError):  # Windows does not write to locked files
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    try:
        yield
    finally:
        with suppress(PermissionError):  # Windows keeps open files
            path.unlink(missing_ok=True)
        lock.release()
# ~ endif
