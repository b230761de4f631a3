"""The memory of a search: a file that processes on any number of machines share.

Optuna does not notice with such a file that a process was killed. So whoever runs a trial touches
the log in its run folder again and again, and notes where the process is.
"""

import logging
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna
from optuna import Study, Trial
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ..errors import UsageError
from ..run.folder import Run
from ..settings.check import flattened
from ..settings.tree import METRICS, MONITOR
from .compare import NOT_COMPARED, Result, read_result
from .search_space import OWN, Search

log = logging.getLogger(__name__)

LOG = "train.log"  # what a trial's training prints
SILENT_SECONDS = 180  # network file systems tell late that a file was touched


def open_study(settings: Search, folder: Path) -> Study:
    """Begin a study, or go on with it.

    Raises:
        UsageError: if it was begun with another space, or for another score.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=settings.study,
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        direction="maximize" if METRICS[MONITOR] == "max" else "minimize",
        pruner=_pruner(settings),
        load_if_exists=True,
    )
    tree = settings.model_dump(mode="json", exclude=OWN - {"space"})
    searched = {"score": f"the best {MONITOR}", **tree.pop("space")}
    others = flattened(tree)
    begun = study.user_attrs
    if "settings" not in begun:
        study.set_user_attr("id", f"{settings.study}_{secrets.token_hex(2)}")  # no other has it
        study.set_user_attr("searched", searched)
        study.set_user_attr("settings", others)
        return study
    changes = _changes(begun["searched"], searched)
    if changes:
        lines = "\n  ".join(changes)
        raise UsageError(
            f"The study {settings.study} was begun otherwise:\n\n  {lines}\n\n"
            "Start another, study=<name>, or give the space as it was."
        )
    for change in _changes(begun["settings"], others):
        log.info("The study was begun with another setting: %s", change)
    return study


def _changes(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    keys = [key for key in {**before, **now} if key not in NOT_COMPARED]
    pairs = {key: (before.get(key), now.get(key)) for key in keys}
    return [f"{key}: {old}, now {new}" for key, (old, new) in pairs.items() if old != new]


def _pruner(settings: Search) -> BasePruner:
    epochs = settings.trainer.max_epochs
    if settings.pruner == "median":
        return MedianPruner(n_warmup_steps=epochs // 4)
    if settings.pruner == "hyperband":
        return HyperbandPruner(max_resource=epochs)
    return NopPruner()


def next_trial(study: Study, settings: Search, folder: Path) -> Trial | None:
    """Take up the next trial, if the study has not all of its trials yet."""
    end_unwatched(study, folder)
    trials = study.get_trials(deepcopy=False)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)  # it was stopped
    if not waiting and len(_run_ids(trials)) >= settings.trials:
        return None
    trial = study.ask()
    if "run" not in trial.user_attrs:
        before = [one for one in study.get_trials(deepcopy=False) if one.number < trial.number]
        if len(_run_ids(before)) >= settings.trials:  # another process was faster
            study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr("run", f"{study.user_attrs['id']}-{trial.number:03d}")
    # By its number, so that a study that is stopped and continued is the same as an unbroken one.
    seeds = np.random.SeedSequence([settings.seed, trial.number])
    study.sampler = TPESampler(seed=int(seeds.generate_state(1)[0]))
    return trial


def _run_ids(trials: Sequence[FrozenTrial]) -> set[str]:
    """One for each trial; one that is stopped and continued counts once."""
    begun = [one for one in trials if "run" in one.user_attrs or one.state == TrialState.RUNNING]
    return {one.user_attrs.get("run", str(one.number)) for one in begun}


def end_unwatched(study: Study, folder: Path) -> None:
    """Tell how the trials have ended whose process was killed: most have failed."""
    clock = folder / ".clock"
    clock.touch()  # the file system's time, not this machine's
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        host, *processes = trial.user_attrs.get("processes", [None])
        if host is None:
            continue  # it starts just now
        run = Run(folder / trial.user_attrs["run"])
        if host == socket.gethostname() and os.name == "posix":
            ended = not any(map(_is_alive, processes))
        else:
            silence = clock.stat().st_mtime - (run.folder / LOG).stat().st_mtime
            ended = silence > SILENT_SECONDS
        if ended:
            if not run.results.is_file():
                run.fail("The search was killed, and the training with it.")
            judge(study, trial, run)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # of another user
    with suppress(FileNotFoundError):  # not on Linux, or it has gone just now
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(") ")[2]
        return not state.startswith("Z")  # killed, but its parent has not taken note yet
    return True


def judge(
    study: Study,
    trial: Trial | FrozenTrial,
    run: Run,
    *,
    pruned: bool = False,
    stopped: bool = False,
) -> Result:
    """Tell the study what came of a trial; one that was stopped is to go on next."""
    if not (run.results.is_file() or pruned or stopped or run.failure.is_file()):
        printed = (run.folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(printed) if line.strip()), "")
        run.fail(f"The training ended before it was finished: {last}")
    result = read_result(run)
    score, state = None, TrialState.FAIL
    if result.state == "finished" and result.score is not None:
        score, state = result.score, TrialState.COMPLETE
    elif pruned:
        state = TrialState.PRUNED
    with suppress(UpdateFinishedTrialError):  # somebody else was faster
        study.tell(trial.number, score, state, skip_if_finished=True)
    if stopped and state == TrialState.FAIL:
        study.enqueue_trial(trial.params, user_attrs={"run": run.id})
    return result


def ended_runs(study: Study, folder: Path) -> list[Run]:
    """The runs of all trials that are not running now, in their order."""
    trials = study.get_trials(deepcopy=False)
    open_ids = {one.user_attrs.get("run") for one in trials if one.state == TrialState.RUNNING}
    ids = dict.fromkeys(one.user_attrs["run"] for one in trials if "run" in one.user_attrs)
    return [Run(folder / run_id) for run_id in ids if run_id not in open_ids]
