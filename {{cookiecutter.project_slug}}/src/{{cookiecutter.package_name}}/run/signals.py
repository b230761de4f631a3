"""End a command on Ctrl-C or SIGTERM, with the exit code 128 + the number of the signal.

``cli.py`` imports this module before all others, so that Ctrl-C during their imports causes no
traceback either.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType, TracebackType


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

    Another Ctrl-C ends the process at once. Another SIGTERM is ignored, because launchers may send
    it twice.
    """
    main_process = os.getpid()
    received = False

    def receive(signum: int, _frame: FrameType | None) -> None:
        nonlocal received
        if os.getpid() != main_process:
            return  # a process that loads images: the main process ends it
        if not received:
            received = True
            raise Interrupted(signum)
        if signum == signal.SIGINT:
            os.write(2, b"\nEnded at once.\n")
            os._exit(128 + signum)

    def send_again(ignored: "sys.UnraisableHookArgs") -> None:
        # Python ignores errors in destructors and in callbacks of forks, where a signal may arrive.
        nonlocal received
        if isinstance(ignored.exc_value, Interrupted):
            received = False
            Timer(0.1, os.kill, (main_process, ignored.exc_value.signum)).start()
        else:
            earlier_hook(ignored)

    # nohup and background jobs of a shell ignore signals, which stays so.
    caught = [
        signum
        for signum in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(signum) != signal.SIG_IGN
    ]
    earlier = {signum: signal.signal(signum, receive) for signum in caught}
    earlier_hook, sys.unraisablehook = sys.unraisablehook, send_again
    try:
        yield
    except Interrupted:
        # Python ends other threads at exit; another Ctrl-C shall not cause a traceback there.
        earlier[signal.SIGINT] = signal.SIG_DFL
        raise
    finally:
        sys.unraisablehook = earlier_hook
        for signum, handler in earlier.items():
            signal.signal(signum, handler)


def _without_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("\nEnded by Ctrl-C.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _without_traceback
