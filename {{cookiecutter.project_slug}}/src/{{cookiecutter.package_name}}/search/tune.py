"""Search for better settings: Optuna proposes them, and a ``train`` process trains with each."""

import math
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import optuna
from filelock import FileLock
from optuna import Study, Trial, TrialPruned
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UsageError
from ..run.atomic_files import write_text
from ..run.environment import without_secrets
from ..run.folder import Run, read_metrics
# ~ if cookiecutter.use_wandb
from ..run.processes import RUN_ID, VARIED
# ~ else
from ..run.processes import RUN_ID
# ~ endif
from ..run.signals import Interrupted
from ..settings.schema import METRICS, monitored
from .compare import compare, draw_study, read_result
from .search_space import Search, hydra_value, suggest, training_words

if sys.platform != "win32":
    import fcntl

TRAIN = [str(Path(sys.executable).with_name("train"))]
LOG = "train.log"  # the output of a training run, in its run folder
POLL_SECONDS = 1
STOP_SECONDS = 60  # for a training run to save a checkpoint before it is killed
HEARTBEAT_SECONDS = 15
STALE_SECONDS = 60  # without a heartbeat, after which another process continues the trial


def run_search(settings: Search, overrides: Sequence[str]) -> None:
    """Run trials until the study has ``settings.trials`` of them, then compare their runs.

    All overrides but the settings of the search itself are passed to the training runs.
    """
    folder = settings.runs / "tune" / settings.study
    folder.mkdir(parents=True, exist_ok=True)
    words = training_words(settings, overrides)
    with FileLock(folder / "study.lock") as lock:  # only one process can create the tables
        study = open_study(settings, words, folder)
    try:
        _run_trials(study, settings, words, folder, lock)
    except Interrupted as error:
        print("\nStopped. The same command continues the search.\n", file=sys.stderr)
        sys.exit(error.code)
    finally:
        _print_results(study, folder, words)


def open_study(settings: Search, words: Sequence[str], folder: Path) -> Study:
    """Create a study whose training runs get the overrides ``words``, or load it if it exists.

    Raises:
        UsageError: if the study exists with another search space, score or overrides,
            if it names a run in another folder, or if the database cannot be opened.
    """
    pruners: dict[str | None, BasePruner] = {
        "median": MedianPruner(n_warmup_steps=settings.epochs // 4),
        "hyperband": HyperbandPruner(max_resource=settings.epochs),
        None: NopPruner(),
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # about the heartbeat
    try:
        storage = RDBStorage(
            settings.storage or f"sqlite:///{folder}/study.db?timeout=60",
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=STALE_SECONDS,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )
    except (ImportError, SQLAlchemyError) as error:
        raise UsageError(f"The database of the study cannot be opened: {error}") from error
    study = optuna.create_study(
        study_name=settings.study,
        storage=storage,
        direction="maximize" if METRICS[settings.monitor] == "max" else "minimize",
        pruner=pruners[settings.pruner],
        load_if_exists=True,
    )
    parts = [without_secrets(word).partition("=") for word in words]
    fixed = {key: value for key, _, value in parts}
    now = {"score": settings.monitor, **settings.model_dump(mode="json")["space"], **fixed}
    unique = f"{settings.study}_{secrets.token_hex(2)}"
    for name, value in {"id": unique, "settings": now}.items():
        if name not in study.user_attrs:
            study.set_user_attr(name, value)
    before = study.user_attrs["settings"]
    changes = [
        f"  {key}: {before.get(key, 'not given')}, now {now.get(key, 'not given')}\n"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise UsageError(
            f"The study {settings.study} exists with other settings:\n\n{''.join(changes)}\n"
            "Start another study with study=<name>, or restore these settings."
        )
    for name in _run_states(study):
        if Path(name).name != name:
            raise UsageError(f"The study {settings.study} has a run {name!r} in another folder.")
    return study


def _run_states(study: Study) -> dict[str, TrialState]:
    """Return the state of each run by its id, in the order in which the runs were started.

    A trial that is continued is a further trial with the same run.
    """
    trials = study.get_trials(deepcopy=False)
    return {trial.user_attrs["run"]: trial.state for trial in trials if "run" in trial.user_attrs}


def _run_trials(
    study: Study, settings: Search, words: Sequence[str], folder: Path, lock: FileLock
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
            pruned = train(trial, run, [*words, *chosen], settings.epochs)
        except Interrupted:
            study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)  # to continue it
            study.tell(trial, state=TrialState.FAIL)
            raise
        result = read_result(run)
        state = "pruned" if pruned else result.state
        score = "" if result.score is None else f"{result.score:.4f}"
        print(run.id, f"{state}:", result.reason or score, flush=True)
        if pruned:
            raise TrialPruned
        # For Optuna, a trial whose score is NaN has failed.
        return math.nan if state != "finished" or result.score is None else result.score

    while True:
        with lock:  # until the trial has its settings: processes start trials one after another
            fail_stale_trials(study)
            states = _run_states(study)
            if TrialState.WAITING in states.values() or len(states) < settings.trials:
                study.sampler = TPESampler(seed=(settings.seed + len(states)) % 2**32)
                study.optimize(run_trial, n_trials=1)
                continue
        if TrialState.RUNNING not in states.values():
            return
        time.sleep(POLL_SECONDS)  # another process runs the last trial, and may be killed


def train(trial: Trial, run: Run, words: Sequence[str], epochs: int) -> bool:
    """Train in a new process with the overrides ``words``; return whether Optuna has pruned it.

    Each epoch is reported to the trial; the last cannot be pruned. A run with a checkpoint is
    resumed.
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
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed = without_secrets((run.folder / LOG).read_text(encoding="utf-8", errors="replace"))
        write_text(run.folder / LOG, printed)
    finished = run.results.is_file()
    if not (pruned or finished or run.failure.is_file()):
        status = process.returncode
        ending = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        last_line = printed.strip().rsplit("\n", 1)[-1]
        run.fail(f"The training ended with {ending}: {last_line}")
    return pruned and not finished


def _print_results(study: Study, folder: Path, words: Sequence[str]) -> None:
    states = _run_states(study).items()
    ended = [Run(folder / name) for name, state in states if state != TrialState.RUNNING]
    if not ended:
        return
    compare([read_result(run) for run in ended], folder, draw_study(study, folder))
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial.user_attrs
        print(f"\nThis command trains the best run, {best['run']}, again:\n")
        again = ["uv", "run", "train", *map(without_secrets, words), *best["settings"]]
        print(f"  {shlex.join(again)}\n")
