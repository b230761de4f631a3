# ~ if cookiecutter.scope == "complete"
"""End a command on Ctrl-C or SIGTERM, with the exit code 128 + the number of the signal.

Python raises an exception where a signal has arrived. Within an import, the exception may be lost
or replaced there: compiled modules clear errors, and some modules try several imports. Within a
transaction of Optuna, it may leave the database locked. For this reason, no exception is raised
during imports and transactions.
"""

import os
import signal
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer, current_thread, main_thread
from types import FrameType


class Interrupted(SystemExit):
    """A signal has ended the command."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.signum).name}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` in the block when Ctrl-C or SIGTERM arrives for the first time.

    If the exception is lost, for example in a destructor, it is raised again. Another Ctrl-C ends
    the process at once. Another SIGTERM is ignored, because launchers may send it twice.
    """
    if current_thread() is not main_thread():  # only the main thread receives signals
        yield
        return
    receiver = _Receiver()

    def ignore(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            earlier_hook(unraisable)

    earlier = {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as with nohup and in background jobs
            earlier[signum] = signal.signal(signum, receiver.receive)
    earlier_hook, sys.unraisablehook = sys.unraisablehook, ignore
    try:
        yield
        if receiver.waiting is not None:  # the block has ended with an import
            raise Interrupted(receiver.waiting)
    except Interrupted:
        # Python ends other threads at exit; another Ctrl-C must not cause a traceback there.
        earlier[signal.SIGINT] = signal.SIG_DFL
        raise
    finally:
        receiver.ended = True
        sys.unraisablehook = earlier_hook
        for signum, handler in earlier.items():
            signal.signal(signum, handler)


class _Receiver:
    """Raises ``Interrupted`` on a signal, and sends the signal again if the exception is lost."""

    def __init__(self) -> None:
        self.main_process = os.getpid()
        self.received = False
        self.waiting: int | None = None  # a signal that has arrived in an import or transaction
        self.announced = False  # whether the user knows that it has arrived
        self.ended = False  # whether the block has ended

    def receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self.main_process:
            return  # a process that loads images: the main process ends it
        if self.received:
            if signum == signal.SIGINT:
                os.write(2, b"\nEnded at once.\n")
                os._exit(128 + signum)
            return
        self.received = True
        self.waiting = signum if _must_end_first(frame) else None
        if self.waiting is None:
            raise self._interrupted(signum)
        if signum == signal.SIGINT and not self.announced:
            self.announced = True
            os.write(2, b"\nEnding in a moment. Another Ctrl-C ends at once.\n")
        self._send_later(signum)

    def _interrupted(self, signum: int) -> Interrupted:
        # A variable in ``receive`` would keep the error alive: its traceback holds that frame.
        error = Interrupted(signum)
        weakref.finalize(error, self._send_later, signum).atexit = False
        return error

    def _send_later(self, signum: int) -> None:
        if not self.ended:
            timer = Timer(0.02, self._send, (signum,))
            timer.daemon = True
            timer.start()

    def _send(self, signum: int) -> None:
        if not self.ended:
            self.received = False
            os.kill(self.main_process, signum)


def _must_end_first(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        if str(frame.f_globals.get("__name__")).startswith("optuna.storages."):
            return True
        frame = frame.f_back
    return False
# ~ else
"""End a command on Ctrl-C or SIGTERM, with the exit code 128 + the number of the signal."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(SystemExit):
    """A signal has ended the command."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.signum).name}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise ``Interrupted`` in the block when Ctrl-C or SIGTERM arrives.

    Another Ctrl-C ends the process at once. Another SIGTERM is ignored, because launchers may send
    it twice. In an import, where the exception might be lost, the first signal ends the process.
    """
    main_process, received = os.getpid(), False

    def receive(signum: int, frame: FrameType | None) -> None:
        nonlocal received
        if os.getpid() != main_process or (received and signum == signal.SIGTERM):
            return  # the main process ends those that load images
        if received or _is_import(frame):
            os.write(2, b"\nEnded at once.\n")
            os._exit(128 + signum)
        received = True
        raise Interrupted(signum)

    earlier = {}
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as with nohup and in background jobs
            earlier[signum] = signal.signal(signum, receive)
    try:
        yield
    except Interrupted:
        # Python ends other threads at exit; another Ctrl-C must not cause a traceback there.
        earlier[signal.SIGINT] = signal.SIG_DFL
        raise
    finally:
        for signum, handler in earlier.items():
            signal.signal(signum, handler)


def _is_import(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
# ~ endif
