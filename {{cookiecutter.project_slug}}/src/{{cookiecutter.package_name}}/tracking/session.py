"""Open a W&B run for whatever is going on, and close it with the right state.

This is the only module that imports ``wandb``, and it does so late: training goes on without the
package, without an account and without a network.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ..run import Run, environment
from ..settings import Settings
from ..task import METRICS
from .media import TrackedPictures
from .settings import Mode, TrackingSettings

log = logging.getLogger(__name__)

SECRET = re.compile(r"key|token|secret|password", re.IGNORECASE)
FLUSH_SECONDS = 2.0  # what a killed process loses at most


@contextmanager
def follow(
    settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[Sequence[Logger], Sequence[Callback]]]:
    """Yield the logger and the callbacks of a W&B run, and finish the run at the end.

    Nothing is yielded if tracking is off or the package is not installed.
    """
    tracking = settings.tracking
    mode = asked_mode(tracking, os.environ) if tracking else "disabled"
    if tracking is None or mode == "disabled":
        yield [], []
        return
    if not installed():
        _say("wandb is not installed: this run is not tracked. To track: uv sync")
        yield [], []
        return
    import wandb  # noqa: PLC0415 - it may be missing

    logger = _open(wandb, tracking, mode, settings, run, job)
    exit_code = 1
    try:
        yield [logger], [TrackedPictures(tracking.images, tracking.every_n_epochs)]
        exit_code = 0
    except SystemExit as stop:
        exit_code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        if wandb.run is not None:  # only the first process has one
            wandb.finish(exit_code=exit_code)


def installed() -> bool:
    """Whether the package is there; a folder named ``wandb`` beside the script does not count."""
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        return False
    return True


def asked_mode(tracking: TrackingSettings, environ: Mapping[str, str]) -> Mode | None:
    """What the environment or the settings ask for; None leaves it to whether there is a key.

    ``WANDB_DISABLED`` and ``WANDB_MODE=disabled`` turn tracking off whatever the settings say.
    """
    variable = environ.get("WANDB_MODE", "").strip().lower()
    if environ.get("WANDB_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}:
        return "disabled"
    if variable == "disabled":
        return "disabled"
    if tracking.mode:
        return tracking.mode
    if variable in {"offline", "dryrun"}:
        return "offline"
    return "online" if variable in {"online", "run"} else None


def _open(
    wandb: ModuleType,
    tracking: TrackingSettings,
    mode: Mode | None,
    settings: Settings,
    run: Run,
    job: str,
) -> WandbLogger:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # W&B takes an empty value for a mistake
    # Artifacts are staged here; elsewhere they would be lost with the machine.
    os.environ.setdefault("WANDB_DATA_DIR", str((run.folder / "wandb-data").absolute()))
    wandb.setup(wandb.Settings(silent=True))  # we say what matters, in one line
    if mode is None:
        mode = _online_if_logged_in(wandb, run)
    if mode == "online":
        try:
            return _start(wandb, "online", tracking, settings, run, job)
        except (wandb.errors.Error, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            wandb.teardown()  # or the id would count as in use
            _say(f"W&B cannot be reached ({reason}): offline. Later: {_sync_command(run)}")
    return _start(wandb, "offline", tracking, settings, run, job)


def _online_if_logged_in(wandb: ModuleType, run: Run) -> Mode:
    try:
        if wandb.login(prompt=False, verify=False):
            return "online"
    except (wandb.errors.Error, OSError, ValueError) as error:
        log.debug("no usable key: %s", error)
    _say(f"W&B: no API key, so this run is kept offline. Later: {_sync_command(run)}")
    return "offline"


def _sync_command(run: Run) -> str:
    return f"uv run wandb login && uv run wandb sync {run.folder}/wandb/offline-run-*"


def _start(
    wandb: ModuleType,
    mode: Mode,
    tracking: TrackingSettings,
    settings: Settings,
    run: Run,
    job: str,
) -> WandbLogger:
    logger = WandbLogger(
        name=tracking.name or run.id,
        id=run.id,
        resume="allow",
        save_dir=run.folder,
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group,
        job_type=tracking.job_type or job,
        tags=tracking.tags,
        notes=tracking.notes,
        mode=mode,
        log_model=False,
        config=run_config(settings),
        settings=wandb.Settings(
            init_timeout=tracking.init_timeout,
            finish_timeout=tracking.finish_timeout,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
            silent=True,
        ),
    )
    experiment = logger.experiment  # starts the run, or raises; on further ranks a dummy
    if isinstance(experiment, wandb.Run):
        for name, goal in METRICS.items():
            # By epoch, and the best value is the one in the table of runs.
            experiment.define_metric(name, step_metric="epoch", summary=goal)
    return logger


def run_config(settings: Settings) -> dict[str, Any]:
    """The resolved settings and the state of the code, without whatever looks like a secret."""
    tree: dict[str, Any] = settings.model_dump(mode="json", by_alias=True)
    state = environment()
    tree["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    tree["command"] = state["command"]
    return masked(tree)


def masked(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy with the values of secret-looking keys replaced."""
    return {
        key: masked(value)
        if isinstance(value, dict)
        else "***"
        if SECRET.search(key) and value
        else value
        for key, value in tree.items()
    }


@rank_zero_only
def _say(line: str) -> None:
    log.info(line)
