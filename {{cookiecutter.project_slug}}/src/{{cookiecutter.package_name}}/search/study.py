"""The Optuna study of a search: its database, its pruner and its runs."""

import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
from filelock import FileLock
from optuna import Study
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from ..errors import UsageError
from ..run.environment import without_secrets
from ..settings.schema import METRICS
from .search_space import Search

HEARTBEAT_SECONDS = 15
STALE_SECONDS = 60  # without a heartbeat, after which another process continues the trial


def open_study(settings: Search, words: Sequence[str], folder: Path, lock: FileLock) -> Study:
    """Create a study whose training runs get the overrides ``words``, or load it if it exists.

    The lock is held meanwhile, because two processes cannot create the tables at the same time.

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
    with lock:
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
        _check_unchanged(study, settings, words)
    for name in (study.user_attrs["id"], *run_states(study)):
        if Path(name).name != name:
            raise UsageError(f"The study {settings.study} has a run {name!r} in another folder.")
    return study


def run_states(study: Study) -> dict[str, TrialState]:
    """Return the state of each run by its id, in the order in which the runs were started.

    A trial that is continued is a further trial with the same run.
    """
    trials = study.get_trials(deepcopy=False)
    return {trial.user_attrs["run"]: trial.state for trial in trials if "run" in trial.user_attrs}


def _check_unchanged(study: Study, settings: Search, words: Sequence[str]) -> None:
    """Store the space and the words of a new study, or compare them with those of an old one."""
    space = {"score": settings.monitor, **settings.model_dump(mode="json")["space"]}
    parts = [without_secrets(word).partition("=") for word in words]
    fixed = {key: value for key, _, value in parts}
    if "space" not in study.user_attrs:
        study.set_user_attr("id", f"{settings.study}_{secrets.token_hex(2)}")  # unique
        study.set_user_attr("fixed", fixed)
        study.set_user_attr("space", space)
    # A study of an earlier version has no fixed settings.
    before = {**study.user_attrs["space"], **study.user_attrs.get("fixed", fixed)}
    now = {**space, **fixed}
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
