"""Open a W&B run for a command, and close it with the right state."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..run.environment import environment, masked
from ..run.files import write_text
from ..run.folder import Run
from ..settings.tree import METRICS, Settings
from .artifacts import BestModel
from .client import HOW_TO_UPLOAD, installed, reason, requested_mode, say
# ~ if cookiecutter.scope == "complete"
from .extras import extras
# ~ endif
from .images import ValidationImages
from .logger import RunLogger, open_run
# ~ if cookiecutter.scope == "complete"
from .settings import WandbSettings
from .sync import remember_artifacts


# ~ else
from .settings import WandbSettings


# ~ endif
@contextmanager
def follow(
    tracking: WandbSettings, settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[Sequence[Logger], Sequence[Callback]]]:
    """Yield the loggers and callbacks of a W&B run, and finish the run at the end.

    Two empty lists are yielded if tracking is disabled or the package is not installed.
    """
    mode = requested_mode(tracking, os.environ)
    if mode == "disabled" or not installed():
        if mode != "disabled":
            say("wandb is not installed: this run is not tracked. To track: uv sync")
        yield [], []
        return
    state = environment()
    config = masked(settings.model_dump(mode="json", exclude={"tracking"}))
    config["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    config["command"] = state["command"]
    logger = open_run(tracking, mode, run, job=job, config=config)
    if getattr(rank_zero_only, "rank", 0):  # only the first process has a W&B run
        yield [logger], []
        return
    if not logger.offline:
        say(f"W&B: {logger.experiment.url}")
        write_text(run.folder / "wandb-url.txt", f"{logger.experiment.url}\n")
    logger.facts |= {"run": run.id, "git_commit": state["git_commit"]}
    with logger.guarded("defining the metrics"):
        for name, goal in METRICS.items():
            # Charts by epoch; the table of runs shows the best value.
            logger.experiment.define_metric(name, step_metric="epoch", summary=goal)
    callbacks = [ValidationImages(logger), BestModel(logger)] if job == "train" else []
    error: BaseException | None = None
    try:
        # ~ if cookiecutter.scope == "complete"
        with extras(logger, settings, job) as more:
            yield [logger], [*callbacks, *more]
        # ~ else
        yield [logger], callbacks
        # ~ endif
    except BaseException as caught:
        error = caught
        raise
    finally:
        with logger.guarded("closing the run"):
            _close(logger, error)


def _close(logger: RunLogger, error: BaseException | None) -> None:
    code = exit_code(error)
    if error is not None and code:
        logger.experiment.summary["failure"] = reason(error)
    # ~ if cookiecutter.scope == "complete"
    if code == 143:
        logger.experiment.mark_preempting()  # so that a sweep starts the trial again
    # ~ endif
    offline = logger.offline
    # ~ if cookiecutter.scope == "complete"
    files = logger.experiment.dir
    # ~ endif
    began = time.monotonic()
    logger.experiment.finish(exit_code=code)
    arrived = time.monotonic() - began < logger.tracking.finish_timeout
    # ~ if cookiecutter.scope == "complete"
    if not offline:
        remember_artifacts(logger, files, arrived=arrived)
    # ~ endif
    if not offline and not arrived:
        say(f"W&B: the upload is not complete. {HOW_TO_UPLOAD}")


def exit_code(error: BaseException | None) -> int:
    """Return the exit code from which W&B derives the state of a run.

    0 is finished, 130 interrupted, 143 terminated, any other failed. Lightning turns Ctrl-C into
    ``SystemExit(1)`` and SIGTERM into a ``SystemExit`` of its own.
    """
    if error is None:
        return 0
    if isinstance(error, SIGTERMException):
        return 143
    if KeyboardInterrupt in {type(error), type(error.__context__)}:
        return 130
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
