"""Open the W&B run of a command, and close it with the right state."""

import os
import time
from collections.abc import Iterator, Sequence
# ~ if cookiecutter.scope == "complete"
from contextlib import contextmanager
from pathlib import Path

# ~ else
from contextlib import contextmanager

# ~ endif
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..run.environment import environment, redacted
from ..run.files import write_text
from ..run.folder import Run
from ..settings.tree import METRICS, Settings
# ~ if cookiecutter.scope == "complete"
from .alerts import MetricAlerts, alert_failure, send_alert
from .artifacts import MODEL_ACTION, ModelArtifacts
from .client import HOW_TO_UPLOAD, installed, reason, requested_mode, say
from .embeddings import EmbeddingCloud
from .images import ValidationImages, log_drawn_predictions
from .lineage import DataLineage, log_checkpoint_source, log_predictions
from .logger import RunLogger, open_run
from .provenance import log_changes
from .settings import WandbSettings
from .sync import COMPLETE, postpone
from .tables import EvaluationTables


# ~ else
from .artifacts import ModelArtifacts
from .client import HOW_TO_UPLOAD, installed, reason, requested_mode, say
from .images import ValidationImages
from .logger import RunLogger, open_run
from .settings import WandbSettings


# ~ endif
@contextmanager
def wandb_run(
    tracking: WandbSettings, settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[Sequence[Logger], Sequence[Callback]]]:
    """Yield the loggers and callbacks of a W&B run, and finish the run at the end.

    Two empty lists are yielded if tracking is disabled or the package is not installed.

    Args:
        tracking: the settings of W&B.
        settings: the settings of the command.
        run: the run of the command; the W&B run has its id, and files in its folder.
        job: the command: ``train``, ``evaluate`` or ``predict``.
    """
    mode = requested_mode(tracking, os.environ)
    if mode == "disabled" or not installed():
        if mode != "disabled":
            say("wandb is not installed: this run is not tracked. To track: uv sync")
        yield [], []
        return
    state = environment()
    config = redacted(settings.model_dump(mode="json", exclude={"tracking"}))
    config["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    config["command"] = state["command"]
    logger = open_run(tracking, mode, run, job=job, config=config)
    if getattr(rank_zero_only, "rank", 0):  # only the first process has a W&B run
        yield [logger], []
        return
    if not logger.offline:
        say(f"W&B: {logger.experiment.url}")
        write_text(run.folder / "wandb-url.txt", f"{logger.experiment.url}\n")
    logger.model_metadata |= {"run": run.id, "git_commit": state["git_commit"]}
    with logger.guarded("defining the metrics"):
        for name, goal in METRICS.items():
            # Charts by epoch; the table of runs shows the best value.
            logger.experiment.define_metric(name, step_metric="epoch", summary=goal)
    callbacks: list[Callback] = [
        ValidationImages(logger),
        ModelArtifacts(logger),
        # ~ if cookiecutter.scope == "complete"
        DataLineage(logger, settings),
        MetricAlerts(logger),
        EmbeddingCloud(logger),
        EvaluationTables(logger, settings.data.root),
        # ~ endif
    ]
    error: BaseException | None = None
    try:
        # ~ if cookiecutter.scope == "complete"
        log_changes(logger)
        log_checkpoint_source(logger, settings)
        # ~ endif
        yield [logger], [] if job == "predict" else callbacks
        # ~ if cookiecutter.scope == "complete"
        if job == "predict":
            log_drawn_predictions(logger)
            log_predictions(logger)
        if tracking.alerts.finished:
            send_alert(logger, "Run finished", run.id, "INFO")
        # ~ endif
    except BaseException as caught:
        error = caught
        raise
    finally:
        with logger.guarded("closing the run"):
            _close(logger, error)


def _close(logger: RunLogger, error: BaseException | None) -> None:
    """Finish the W&B run with its exit code, and say if the upload is not complete."""
    code = exit_code(error)
    if error is not None and code:
        logger.experiment.summary["failure"] = reason(error)
    # ~ if cookiecutter.scope == "complete"
    if isinstance(error, Exception):
        alert_failure(logger, error)
    if code == 143:
        logger.experiment.mark_preempting()  # so that a sweep starts the trial again
    files = Path(logger.experiment.dir)
    # ~ endif
    offline = logger.offline
    began = time.monotonic()
    logger.experiment.finish(exit_code=code)
    arrived = time.monotonic() - began < logger.tracking.finish_timeout
    if offline:
        return
    # ~ if cookiecutter.scope == "complete"
    if arrived:
        (files.parent / COMPLETE).touch()
    if not arrived or MODEL_ACTION in logger.failures:
        for action in logger.artifacts:
            postpone(logger.run, action)
    # ~ endif
    if not arrived:
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
