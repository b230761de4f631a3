"""Open the W&B run of a command, and close it with the right state."""

import os
# ~ if cookiecutter.scope == "complete"
import signal
# ~ endif
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
# ~ if cookiecutter.scope == "complete"
from pathlib import Path
# ~ endif
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..errors import UsageError
from ..run.environment import environment, redacted
from ..run.files import write_text
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.run_id import VARIED
# ~ endif
from ..settings.check_settings import flattened
# ~ if cookiecutter.scope == "complete"
from ..settings.schema import PredictSettings, Settings, model_name
# ~ else
from ..settings.schema import Settings, model_name
# ~ endif
# ~ if cookiecutter.scope == "complete"
from .alerts import MetricAlerts, check_rules, send_alert
from .artifacts import ModelArtifacts
from .client import abandon, how_to_upload, installed, reason, requested_mode, say
from .embeddings import EmbeddingCloud
from .histograms import Histograms
from .images import ValidationImages, log_drawn_predictions
from .lineage import DataLineage, log_checkpoint_source, log_predictions
from .logger import SWEEP, RunLogger, open_run
from .pending import postpone
from .settings import WandbSettings
from .tables import EvaluationTables
from .upload_status import missing_on_server


# ~ else
from .artifacts import ModelArtifacts
from .client import abandon, how_to_upload, installed, reason, requested_mode, say
from .images import ValidationImages
from .logger import SWEEP, RunLogger, open_run
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

    Raises:
        UsageError: if a setting or an environment variable has a value that does not exist.
    """
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task == "classification"
    check_rules(tracking.alerts.rules, settings)
    # ~ elif cookiecutter.scope == "complete"
    check_rules(tracking.alerts.rules)
    # ~ endif
    if not installed():
        if requested_mode(tracking, os.environ) != "disabled":
            say("wandb is not installed: this run is not tracked. To track: uv sync")
        yield [], []
        return
    state = environment()
    config = redacted(settings.model_dump(mode="json", exclude={"tracking"}))
    config["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    config["command"] = state["command"]
    # A run that goes on keeps its name, which may have been changed on the server.
    has_name = os.environ.get("WANDB_NAME") or any(run.folder.glob("wandb/*run-*"))
    default = None if has_name else run_name(settings, run, job, sys.argv[1:])
    name = redacted(tracking.name) or default
    job_type = redacted(tracking.job_type) or os.environ.get("WANDB_JOB_TYPE") or job
    logger = _opened(tracking, run, name=name, job_type=job_type, config=config)
    if logger is None or getattr(rank_zero_only, "rank", 0) != 0:  # only rank 0 has a W&B run
        yield [] if logger is None else [logger], []
        return
    logger.model_metadata |= {"run": run.id, "git_commit": state["git_commit"]}
    callbacks: list[Callback] = [
        ValidationImages(logger),
        ModelArtifacts(logger),
        # ~ if cookiecutter.scope == "complete"
        DataLineage(logger, settings),
        MetricAlerts(logger),
        EmbeddingCloud(logger),
        Histograms(logger),
        EvaluationTables(logger, settings.data.root),
        # ~ endif
    ]
    try:
        with logger.guarded("showing its address"):
            if not logger.offline:
                say(f"W&B: {logger.experiment.url}")
                write_text(run.folder / "wandb-url.txt", f"{logger.experiment.url}\n")
        # ~ if cookiecutter.scope == "complete"
        log_checkpoint_source(logger, settings)
        # ~ endif
        yield [logger], [] if job == "predict" else callbacks
        # ~ if cookiecutter.scope == "complete"
        if isinstance(settings, PredictSettings):
            folder = settings.output or run.folder
            log_drawn_predictions(logger, folder)
            log_predictions(logger, folder)
        if tracking.alerts.finished:
            send_alert(logger, "Run finished", run.id, "INFO")
        # ~ endif
    except BaseException as error:
        _close(logger, error)
        raise
    _close(logger, None)


def _opened(tracking: WandbSettings, run: Run, **described: Any) -> RunLogger | None:
    """Open the run; if W&B cannot even record it, say so and return None."""
    try:
        return open_run(tracking, run, **described)
    except Exception as error:  # wandb raises many kinds
        if tracking.strict or isinstance(error, UsageError):
            raise
        hint = " For a run of its own: unset WANDB_RUN_ID" if "WANDB_RUN_ID" in os.environ else ""
        say(f"W&B: the run cannot be opened ({reason(error)}); it is not tracked.{hint}")
        return None


def _close(logger: RunLogger, error: BaseException | None) -> None:
    """Finish the W&B run with its exit code, and say if the upload is not complete."""
    code = exit_code(error)
    with logger.guarded("recording the end of the run"):
        if error is not None and code:
            logger.experiment.summary["failure"] = reason(error)
        elif not code and "failure" in logger.experiment.summary.keys():  # noqa: SIM118
            del logger.experiment.summary["failure"]  # of the session that this one has continued
        # ~ if cookiecutter.scope == "complete"
        if isinstance(error, Exception) and logger.tracking.alerts.failed:
            send_alert(logger, "Run failed", f"{logger.run.id}: {reason(error)}", "ERROR")
        # A sweep starts a preempted trial again. It ends trials itself, by SIGTERM.
        ended = SWEEP in os.environ and getattr(error, "signum", signal.SIGTERM) == signal.SIGTERM
        if code == 143 and not ended:
            logger.experiment.mark_preempting()
        # ~ endif
    problem: str | None = "it has failed"
    with logger.guarded("closing the run"):
        try:
            problem = _finish(logger, code)
        except Exception:
            abandon()
            raise
    if problem is None or logger.offline:
        return
    # ~ if cookiecutter.scope == "complete"
    for action in logger.artifacts:
        postpone(logger.run, action)
    # ~ endif
    say(f"W&B: the upload is not complete ({problem}). {how_to_upload(logger.run)}")


def _finish(logger: RunLogger, code: int) -> str | None:
    """Finish the W&B run; return why its upload is not complete, None if it is."""
    # ~ if cookiecutter.scope == "complete"
    folder = Path(logger.experiment.dir).parent
    # ~ else
    path = logger.experiment.path
    # ~ endif
    began = time.monotonic()
    logger.experiment.finish(exit_code=code)
    if logger.offline:
        return None
    if time.monotonic() - began >= logger.tracking.finish_timeout:
        return f"no answer for {logger.tracking.finish_timeout:g} s"
    os.environ["WANDB_DIR"] = os.environ["WANDB_DATA_DIR"]  # W&B's API makes an empty folder there
    # ~ if cookiecutter.scope == "complete"
    digests = [action["digest"] for action in logger.artifacts]
    return missing_on_server(next(folder.glob("*.wandb")), digests)


    # ~ else
    # A run that the server has refused, such as after a change of the key, ends as quickly.
    try:
        ended = logger.wandb.Api(timeout=20).run(path).state != "running"
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return None if ended else "the server has not received the end of the run"


# ~ endif
def exit_code(error: BaseException | None) -> int:
    """Return the exit code from which W&B derives the state of a run.

    0 is finished, 130 interrupted, 143 terminated, any other failed. Lightning may turn SIGTERM
    into a ``SystemExit`` of its own.
    """
    if error is None:
        return 0
    if isinstance(error, SIGTERMException):
        return 143
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1


def run_name(settings: Settings, run: Run, job: str, words: Sequence[str]) -> str:
    """Return task, model, data, the values that vary in a sweep, and the end of the run id.

    Args:
        settings: the settings of the command.
        run: the run of the command.
        job: the command, which the name begins with unless it is ``train``.
        words: the command-line overrides. In a multirun, those with several values vary; all that
            the agent of a sweep has given vary.
    """
    tree: dict[str, Any] = flattened(settings.model_dump(mode="json", exclude={"tracking"}))
    varied = [(key.rsplit(".", 1)[-1], tree[key]) for key in varied_keys(words) if key in tree]
    texts = [
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in varied
    ]
    task = "{{ cookiecutter.task }}"
    parts = [task, model_name(settings.model.model_dump()), settings.data.name, *texts]
    return " ".join([*([] if job == "train" else [job]), *parts, run.id.rsplit("_", 1)[-1]])


def varied_keys(words: Sequence[str]) -> list[str]:
    """Return the keys of the overrides whose values differ between the runs of a sweep."""
    # ~ if cookiecutter.scope == "complete"
    if VARIED in os.environ:
        return os.environ[VARIED].split(",")
    # ~ endif
    parser, keys = OverridesParser.create(), []
    for word in words:
        with suppress(HydraException):  # a word such as --multirun is not an override
            override = parser.parse_override(word)
            if override.is_sweep_override() or SWEEP in os.environ:
                keys.append(override.key_or_group)
    return keys
