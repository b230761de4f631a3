"""The way to W&B: the only module that imports ``wandb``, and it does so late.

Training goes on without the package, without an account, without a network, and when any of them
fails on the way.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from types import ModuleType
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ..run.environment import without_secrets
from ..run.folder import Run
from .settings import Mode, TrackingSettings

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # what a killed process loses at most
API_SECONDS = 20  # until a question to the server counts as not answered
RUNS_TO_SYNC = "Later: uv run wandb-sync"


def installed() -> bool:
    """Whether the package is there; a folder named ``wandb`` beside the script does not count."""
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        return False
    return True


def package() -> ModuleType:
    """The package, set up to be quiet: we say what matters, in one line."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # W&B takes an empty value for a mistake
    import wandb  # noqa: PLC0415 - it may be missing

    return wandb


def public_api(tracking: Any) -> Any:
    """W&B's own interface to what is on the server.

    Args:
        tracking: the settings, which bring project and entity for names that have none.
    """
    wandb = package()
    wandb.setup(wandb.Settings(silent=True))
    names = {key: getattr(tracking, key, None) for key in ("project", "entity")}
    overrides = {key: value for key, value in names.items() if value}
    return wandb.Api(overrides=overrides, timeout=API_SECONDS)


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


@dataclass
class Tracked:
    """An open W&B run, and what may be sent to it.

    Nothing that is sent through it can fail the training, unless ``tracking.strict`` is set.
    """

    wandb: ModuleType
    logger: "TrackedLogger"
    tracking: TrackingSettings
    folder: Run
    reported: set[str] = field(default_factory=set)
    logged: list[dict[str, Any]] = field(default_factory=list)  # see ``artifacts.log_files``

    @property
    def run(self) -> Any:
        """W&B's own run."""
        return self.logger.experiment

    @property
    def offline(self) -> bool:
        """Whether nothing reaches a server before ``wandb-sync``."""
        return bool(self.run.offline)

    def send(self, values: Mapping[str, Any], step: int) -> None:
        """Log numbers, media and tables at a training step."""
        self.logger.log_metrics(dict(values), step)

    @contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Say in one line, once for each ``what``, that something could not be sent."""
        with guarded(what, self.reported, strict=self.tracking.strict):
            yield


class TrackedLogger(WandbLogger):
    """Lightning's logger, that a full disk or a lost connection does not bring down."""

    reported: set[str]
    strict = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers; whatever fails is told once."""
        with guarded("logging", self.reported, strict=self.strict):
            super().log_metrics(metrics, step)


@contextmanager
def guarded(what: str, reported: set[str], *, strict: bool) -> Iterator[None]:
    """Turn an exception into one line of log, or let it through if ``strict``."""
    try:
        yield
    except Exception as error:  # whatever W&B raises: a run's own results matter more
        if strict:
            raise
        if what not in reported:
            reported.add(what)
            say(f"W&B: {what} failed ({reason(error)}); the run goes on without it.")
        log.debug("%s failed", what, exc_info=True)


def open_run(
    tracking: TrackingSettings, mode: Mode | None, run: Run, *, job: str, config: dict[str, Any]
) -> Tracked:
    """Start a W&B run by the name of the run folder; offline if the server cannot be reached.

    Raises:
        wandb.errors.Error: if it cannot be reached and ``tracking.strict`` is set.
    """
    wandb = package()
    # Whatever is staged stays in the run folder; elsewhere it would be lost with the machine.
    os.environ["WANDB_DIR"] = str(run.folder.absolute())
    os.environ["WANDB_DATA_DIR"] = str((run.folder / "wandb" / "data").absolute())
    (run.folder / "wandb" / "data").mkdir(parents=True, exist_ok=True)
    wandb.setup(wandb.Settings(silent=True))
    if mode is None:
        mode = "online" if has_key(wandb) else "offline"
        if mode == "offline":
            say(f"W&B: no API key, so this run is kept offline. {RUNS_TO_SYNC}")
    if mode == "online":
        before = set(run.folder.glob("wandb/run-*"))
        try:
            return _start(wandb, "online", tracking, run, job, config)
        except (wandb.errors.Error, OSError, ValueError) as error:
            wandb.teardown()  # or the id would count as in use
            for begun in set(run.folder.glob("wandb/run-*")) - before:
                shutil.rmtree(begun)  # nothing is in it, but it would be uploaded as a crash
            if tracking.strict:
                raise
            say(f"W&B cannot be reached ({reason(error)}): offline. {RUNS_TO_SYNC}")
    return _start(wandb, "offline", tracking, run, job, config)


def has_key(wandb: ModuleType) -> bool:
    """Whether somebody is logged in on this machine."""
    try:
        if wandb.login(prompt=False, verify=False):
            return True
    except (wandb.errors.Error, OSError, ValueError) as error:
        log.debug("no usable key: %s", error)
    return False


def _start(
    wandb: ModuleType,
    mode: Mode,
    tracking: TrackingSettings,
    folder: Run,
    job: str,
    config: dict[str, Any],
) -> Tracked:
    logger = TrackedLogger(
        name=tracking.name or folder.id,
        id=folder.id,
        resume="allow",
        save_dir=folder.folder,
        project=tracking.project,
        entity=tracking.entity,
        group=tracking.group,
        job_type=tracking.job_type or job,
        tags=tracking.tags,
        notes=tracking.notes,
        mode=mode,
        log_model=False,
        config=config,
        settings=wandb.Settings(
            init_timeout=tracking.init_timeout,
            finish_timeout=tracking.finish_timeout,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
            silent=True,
        ),
    )
    tracked = Tracked(wandb, logger, tracking, folder)
    logger.reported, logger.strict = tracked.reported, tracking.strict
    run = logger.experiment  # starts the run, or raises; on further ranks a dummy
    if isinstance(run, wandb.Run):
        for handler in logging.getLogger("wandb").handlers:
            # On a full disk each line of the package's own log would print a traceback.
            handler.handleError = _say_nothing  # type: ignore[method-assign]
        if mode == "online":
            _never_wait_for_a_lost_server(run)
    return tracked


def _never_wait_for_a_lost_server(run: Any) -> None:
    """Let artifacts and tables be recorded whether the server answers or not.

    Before each of them, the package asks the server whether the artifact's type is right, and fails
    after 20 seconds without an answer: what was to be logged would then be missing from the file
    that ``wandb-sync`` uploads. These two are private parts of the package; a test with a server
    that dies tells if they change.
    """
    run._public_api()  # made now, while the server is there: this, too, would wait for it
    run._assert_can_log_artifact = lambda _artifact: None


def reason(error: BaseException) -> str:
    """The first line of what an exception says, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)


def _say_nothing(record: logging.LogRecord) -> None:
    pass


@rank_zero_only
def say(line: str) -> None:
    """One line for the person at the terminal."""
    log.info(line)
