"""Search the settings: Optuna proposes them, ``train`` tries them, and its scores go back."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType

from optuna import Study, Trial
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..run.folder import Run, read_metrics
from ..run.identity import RUN_ID
from ..settings.tree import MONITOR
from .compare import compare
from .search_space import OWN, Search, suggest, word
from .study import LOG, ended_runs, judge, next_trial, open_study

TRAIN = [str(Path(sys.executable).with_name("train"))]
POLL_SECONDS = 1
END_SECONDS = 60  # for a training to end by itself when it is stopped
SIGNALS = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


def run_search(settings: Search, overrides: Sequence[str]) -> None:
    """Run trials until the study has them all, then tell the results.

    Args:
        settings: with the study to begin or to go on with.
        overrides: of the command line; all but the search's own go to the trainings.

    Raises:
        UsageError: if the study was begun with another space, or for another score.
    """
    folder = settings.runs / "tune" / settings.study
    study = open_study(settings, folder)
    words = [override.lstrip("+") for override in overrides if _for_training(override)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with stop_signals() as stop, Progress(*columns, TimeElapsedColumn()) as progress:
        search = progress.add_task(settings.study, total=settings.trials)
        while not stop.is_set() and (trial := next_trial(study, settings, folder)):
            progress.update(search, completed=len(ended_runs(study, folder)))
            run = Run(folder / trial.user_attrs["run"])
            chosen = [f"{key}={value}" for key, value in suggest(trial, settings).items()]
            epochs = settings.trainer.max_epochs
            task = progress.add_task(run.id, total=epochs)
            pruned = train(
                trial,
                run,
                [*words, *chosen],
                epochs=epochs,
                stop=stop,
                show=partial(progress.update, task),
            )
            progress.remove_task(task)
            result = judge(study, trial, run, pruned=pruned, stopped=stop.is_set())
            score = "" if result.score is None else f"{result.score:.4f}"
            line = f"{run.id}  {result.state:8}  {score:6}  {' '.join(chosen)}  {result.reason}"
            progress.console.print(line.rstrip(), soft_wrap=True, markup=False, highlight=False)
        progress.update(search, completed=len(ended_runs(study, folder)))
    _tell(study, folder, words)
    if stop.is_set():
        sys.exit("\nStopped. The same command goes on where it was.\n")


def _for_training(override: str) -> bool:
    return override.lstrip("+~").split("=")[0].split(".")[0] not in {*OWN, "runs"}


@contextmanager
def stop_signals() -> Iterator[Event]:
    """Turn signals into an event, so that nothing is cut off in the middle."""
    stop = Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    # What the shell has us ignore, as nohup does, stays ignored.
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    trial: Trial,
    run: Run,
    words: Sequence[str],
    *,
    epochs: int,
    stop: Event,
    show: Callable[..., None],
) -> bool:
    """Train in a process of its own, and report each epoch to the trial.

    Args:
        trial: to report to; it may lag behind the others.
        run: where to train; what was stopped there goes on.
        words: the settings, as on a command line.
        epochs: how many there are to be.
        stop: ends the training when it is set.
        show: told as ``completed`` how many epochs there are.

    Returns:
        Whether the training was ended because it lags behind.
    """
    command = [*TRAIN, *([f"resume={run.id}"] if run.last.is_file() else words)]
    command += [f"runs={word(str(run.folder.parent))}", "trainer.progress=false"]
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / LOG
    with log.open("a", encoding="utf-8") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, RUN_ID: run.id},
            process_group=0,  # Ctrl-C is for us alone
        )
    reported: set[int] = set()
    pruned = False
    try:
        trial.set_user_attr("processes", [socket.gethostname(), os.getpid(), process.pid])
        while process.poll() is None and not pruned and not stop.is_set():
            os.utime(log)  # see study.py
            if report(trial, run, reported) and max(reported) + 1 < epochs:
                pruned = trial.should_prune()
            show(completed=len(reported))
            stop.wait(POLL_SECONDS)
    finally:
        if process.poll() is None:
            _end(process)
    report(trial, run, reported)
    if process.returncode < 0 and not pruned and not stop.is_set():
        run.fail(f"The training was killed by {signal.Signals(-process.returncode).name}.")
    return pruned


def report(trial: Trial, run: Run, reported: set[int]) -> bool:
    """Report the epochs that are new, and whether there are any."""
    rows = [row for row in read_metrics(run.metrics) if MONITOR in row]
    new = {int(row["epoch"]): row[MONITOR] for row in rows if int(row["epoch"]) not in reported}
    for epoch, score in new.items():
        trial.report(score, epoch)
    reported.update(new)
    return bool(new)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tell(study: Study, folder: Path, words: Sequence[str]) -> None:
    """Print all results, and how to train the best one again."""
    runs = ended_runs(study, folder)
    results = compare(runs, folder) if runs else []
    best = next((result for result in results if result.state == "finished"), None)
    if best is None:
        return
    params = next(
        trial.params for trial in study.trials if trial.user_attrs.get("run") == best.run.id
    )
    chosen = [
        f"{key}={value if isinstance(value, str) else word(value)}" for key, value in params.items()
    ]
    print(f"\nThe best, {best.run.id}, trains again by:\n")
    print(f"  {shlex.join(['uv', 'run', 'train', *words, *chosen])}\n")
