"""Report why a command has ended; errors that are not mistakes in the code have no traceback."""

import errno
import logging
import re
import shlex
import sys
from contextlib import suppress

from ..errors import NotFiniteError, UsageError
from .folder import Run
from .processes import is_first
from .signals import Interrupted

log = logging.getLogger(__name__)

FULL_DISK = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
# PyTorch reports these as RuntimeError, or as errors of its own that would have to be imported.
OUT_OF_MEMORY = re.compile(
    r"out of memory|(can't|cannot|unable to) allocate|not enough memory|ALLOC_FAILED"
    r"|DataLoader worker \(pid.*?\) (is killed by signal: (Killed|Bus)|exited)",
    re.IGNORECASE,
)


def report_failure(error: Exception | Interrupted, run: Run, *, multirun: bool = False) -> None:
    """Print why a command has ended, and write it into the folder of its run.

    The folder of a command that was refused before it has written a result is removed instead, and
    a run whose training has not continued stays as it was. In a multirun, the other jobs go on
    unless a signal has ended this one. A mistake in the code is raised again.
    """
    unchanged = run.restore() and not multirun
    if isinstance(error, Interrupted):
        if is_first():
            print(f"\n{run.id} was {error}. {how_to_go_on(run)}\n", file=sys.stderr)
        raise error
    message = explanation(error, run)
    diverged = isinstance(error, NotFiniteError)
    refused = isinstance(error, UsageError) and not diverged and not multirun
    if run.folder in Run.replaced_files or (multirun and not run.folder.is_dir()):
        with suppress(OSError):  # the disk may be full
            if not (unchanged or (refused and run.remove_if_unused())):
                run.fail(message or f"{type(error).__name__}: {error}")
    if multirun:
        log.error("\n%s failed: %s\n", run.id, message or error, exc_info=not message)
    elif message:
        sys.exit(f"\n{message}\n")
    else:
        raise error


def explanation(error: Exception, run: Run) -> str | None:
    """Return the reason of an error and how to go on; None if it is a mistake in the code."""
    # Lightning's own exception is known by its name, since importing Lightning takes long.
    if isinstance(error, UsageError) or type(error).__name__ == "MisconfigurationException":
        return str(error)
    text = str(error).strip() or type(error).__name__
    reason = text.splitlines()[0].rstrip(".")
    if isinstance(error, OSError):
        # An error in a process that loads images arrives as text.
        if error.errno in FULL_DISK or f"[Errno {errno.ENOSPC}]" in text:
            return f"The disk is full. Free some space.\n{how_to_go_on(run)}"
        if error.errno in NO_ACCESS:
            return (
                f"{error.filename or 'A file'} cannot be used: {error.strerror}.\n"
                "Change its permissions, or name other folders: runs=<folder> for the runs, "
                "data.root=<folder> for the data."
            )
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        return (
            f"Memory, or shared memory (/dev/shm), seems to be full: {reason}.\n"
            "Lower loader.batch_size, data.image_size or loader.workers, or set "
            f"trainer.precision=bf16-mixed.\n{how_to_go_on(run)}"
        )
    return None


def how_to_go_on(run: Run) -> str:
    """Return a sentence with the command that resumes a run, or advice to start it again."""
    if not run.checkpoints:
        return "There is no checkpoint to continue from: start the command again."
    return f"To continue: {resume_command(run)}"


def resume_command(run: Run) -> str:
    """Return the command that continues a run, quoted for a shell."""
    words = ["uv", "run", "train", f"resume={run.id}"]
    if str(run.folder.parent) != "runs":
        words.append(f"runs={run.folder.parent}")
    return shlex.join(words)
