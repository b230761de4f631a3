"""Search for better settings: Optuna proposes them, and a ``train`` process trains with each."""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from filelock import FileLock
from optuna import Study, Trial, TrialPruned
from optuna.samplers import TPESampler
from optuna.storages import fail_stale_trials
from optuna.trial import TrialState

from ..run.atomic_files import write_text
from ..run.environment import without_secrets
from ..run.folder import Run, read_metrics
# ~ if cookiecutter.use_wandb
from ..run.processes import RUN_ID, VARIED
# ~ else
from ..run.processes import RUN_ID
# ~ endif
from ..settings.schema import monitored
from .compare import compare, draw_study, read_result
from .search_space import Search, hydra_value, suggest, training_words
from .study import open_study, run_states

if sys.platform != "win32":
    import fcntl

TRAIN = [str(Path(sys.executable).with_name("train"))]
LOG = "train.log"  # the output of a training run, in its run folder
POLL_SECONDS = 1
STOP_SECONDS = 60  # for a training run to save a checkpoint before it is killed
STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform != "win32":
    STOP_SIGNALS.append(signal.SIGHUP)


def run_search(settings: Search, overrides: Sequence[str]) -> None:
    """Run trials until the study has ``settings.trials`` of them, then compare their runs.

    All overrides but the settings of the search itself are passed to the training runs.
    """
    folder = settings.runs / "tune" / settings.study
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "study.lock")
    words = training_words(settings, overrides)
    study = open_study(settings, words, folder, lock)
    received: list[int] = []

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        # The first signal waits for the end of a database call, which must not be interrupted.
        received.append(signum)
        if len(received) > 1:
            raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, interrupt)
    try:
        _run_trials(study, settings, words, folder, lock, received)
    except KeyboardInterrupt:
        print("\nStopped. The same command continues the search.\n", file=sys.stderr)
        sys.exit(128 + received[0])
    finally:
        _print_results(study, folder, words)


def _run_trials(
    study: Study,
    settings: Search,
    words: Sequence[str],
    folder: Path,
    lock: FileLock,
    received: Sequence[int],
) -> None:
    """Run trials until the study has all of them; other processes may work on it, too."""

    def run_trial(trial: Trial) -> float:
        chosen = suggest(trial, settings)
        if "run" not in trial.user_attrs:  # otherwise an earlier trial is continued
            trial.set_user_attr("run", f"{study.user_attrs['id']}-{trial.number:03d}")
            trial.set_user_attr("settings", chosen)
        lock.release()  # other processes can see what this trial tries
        run = Run(folder / trial.user_attrs["run"])
        print(run.id, "started:", *chosen, flush=True)
        try:
            pruned = train(trial, run, [*words, *chosen], settings.epochs, received)
        except KeyboardInterrupt:
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)  # to continue it
            raise
        result = read_result(run)
        state = "pruned" if pruned else result.state
        score = "" if result.score is None else f"{result.score:.4f}"
        print(run.id, f"{state}:", result.reason or score, flush=True)
        if result.state == "finished" and result.score is not None:
            return result.score
        if pruned:
            raise TrialPruned
        return math.nan  # for Optuna, the trial has failed

    while not received:
        with lock:  # until the trial has its settings: processes start trials one after another
            fail_stale_trials(study)
            states = run_states(study)
            if TrialState.WAITING in states.values() or len(states) < settings.trials:
                study.sampler = TPESampler(seed=(settings.seed + len(states)) % 2**32)
                study.optimize(run_trial, n_trials=1)
                continue
        if TrialState.RUNNING not in states.values():
            return
        time.sleep(POLL_SECONDS)  # another process runs the last trial, and may be killed
    raise KeyboardInterrupt


def train(
    trial: Trial, run: Run, words: Sequence[str], epochs: int, received: Sequence[int]
) -> bool:
    """Train in a new process with the overrides ``words``; return whether Optuna has pruned it.

    Each epoch is reported to the trial; the last cannot be pruned. A run with a checkpoint is
    resumed. A signal in ``received`` stops the training, and raises a KeyboardInterrupt.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / LOG).open("a", encoding="utf-8") as log:
        if sys.platform != "win32":
            # A training run inherits this lock with its output. If its search was killed, wait.
            fcntl.flock(log, fcntl.LOCK_EX)
        if run.results.is_file():
            return False
        command = [*TRAIN, *([f"resume={run.id}"] if run.last.is_file() else words)]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, f"runs={hydra_value(str(run.folder.parent))}", "trainer.progress=false"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # ~ if cookiecutter.use_wandb
            env={**os.environ, RUN_ID: run.id, VARIED: ",".join(trial.params)},
            # ~ else
            env={**os.environ, RUN_ID: run.id},
            # ~ endif
            process_group=0,  # so that Ctrl-C does not reach it
        )
    reported, pruned = 0, False
    try:
        while process.returncode is None and not pruned:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
            scores: dict[int, float] = {}  # of each epoch, the first: there may be several
            for row in read_metrics(run.metrics):
                if monitored(row) in row:
                    scores.setdefault(int(row["epoch"]), row[monitored(row)])
            for epoch in list(scores)[reported:]:
                trial.report(scores[epoch], epoch)
            if reported < len(scores) and max(scores) + 1 < epochs:
                pruned = trial.should_prune()
            reported = max(reported, len(scores))  # a resumed training run removes rows
            if received:
                raise KeyboardInterrupt
    finally:
        stop(process)
        printed = without_secrets((run.folder / LOG).read_text(encoding="utf-8", errors="replace"))
        write_text(run.folder / LOG, printed)
    if not (pruned or run.results.is_file() or run.failure.is_file()):
        status = process.returncode
        ending = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        last_line = printed.strip().rsplit("\n", 1)[-1]
        run.fail(f"The training ended with {ending}: {last_line}")
    return pruned


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a running training; kill it after ``STOP_SECONDS`` or at the next Ctrl-C."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _print_results(study: Study, folder: Path, words: Sequence[str]) -> None:
    states = run_states(study).items()
    ended = [Run(folder / name) for name, state in states if state != TrialState.RUNNING]
    if not ended:
        return
    compare([read_result(run) for run in ended], folder, draw_study(study, folder))
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial.user_attrs
        print(f"\nThis command trains the best run, {best['run']}, again:\n")
        again = ["uv", "run", "train", *map(without_secrets, words), *best["settings"]]
        print(f"  {shlex.join(again)}\n")
