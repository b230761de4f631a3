"""Open the W&B run of a command, and close it with the right state."""

import os
import shutil
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

from ..errors import UsageError
from ..run.atomic_files import write_text
from ..run.environment import environment, redacted
from ..run.folder import Run
# ~ if cookiecutter.scope == "complete"
from ..run.processes import VARIED, is_first
# ~ else
from ..run.processes import is_first
# ~ endif
from ..settings.check_settings import flattened
# ~ if cookiecutter.scope == "complete"
from ..settings.schema import TASK, PredictSettings, Settings, model_name
from . import client
from .alerts import MetricAlerts, check_rules, send_alert
from .artifacts import ModelArtifacts
from .images import ValidationImages, log_drawn_predictions
from .lineage import DataLineage, log_checkpoint_source, log_predictions
from .logger import SWEEP, RunLogger
from .network_plots import EmbeddingCloud, Histograms
from .pending import pending, postpone
from .settings import WandbSettings
from .tables import EvaluationTables
from .upload_status import missing_on_server


# ~ else
from ..settings.schema import TASK, Settings, model_name
from . import client
from .artifacts import log_best_model
from .images import ValidationImages
from .logger import SWEEP, RunLogger
from .settings import WandbSettings


# ~ endif
@contextmanager
def wandb_run(
    tracking: WandbSettings, settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[list[RunLogger], list[Callback]]]:
    """Yield logger and callbacks of the W&B run of a command, and finish the run at the end.

    Two empty lists are yielded if the run is not tracked, and in all processes but the first.
    ``job`` is the command: ``train``, ``evaluate`` or ``predict``.
    """
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task == "classification"
    check_rules(tracking.alerts.rules, settings)
    # ~ elif cookiecutter.scope == "complete"
    check_rules(tracking.alerts.rules)
    # ~ endif
    logger = _opened(tracking, settings, run, job) if is_first() else None
    if logger is None:
        yield [], []
        return
    callbacks: list[Callback] = [ValidationImages(logger)]
    # ~ if cookiecutter.scope == "complete"
    callbacks += [ModelArtifacts(logger), DataLineage(logger, settings), MetricAlerts(logger)]
    callbacks += [EmbeddingCloud(logger), Histograms(logger)]
    callbacks += [EvaluationTables(logger, settings.data.root)]
    # ~ endif
    try:
        with logger.guarded("showing its address"):
            if not logger.offline:
                client.say(f"W&B: {logger.experiment.url}")
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


def _opened(tracking: WandbSettings, settings: Settings, run: Run, job: str) -> RunLogger | None:
    """Open the run; if it is not tracked, say why and return None."""
    if not client.installed():
        if tracking.strict:
            raise UsageError("tracking.strict=true: wandb is not installed. Install it: uv sync")
        client.say("wandb is not installed: this run is not tracked. To track: uv sync")
        return None
    state = environment()
    config = redacted(settings.model_dump(mode="json", exclude={"tracking"}))
    config["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    config["command"] = state["command"]
    keys = {"project", "entity", "name", "group", "job_type", "tags", "notes"}
    described = redacted({"tracking": tracking.model_dump(include=keys)})["tracking"]
    described["job_type"] = described["job_type"] or os.environ.get("WANDB_JOB_TYPE", job)
    described["tags"] = described["tags"] or None  # None: WANDB_TAGS
    if any(run.folder.glob("wandb/*run-*")):
        # They may have been changed on the server, so a resumed run sends them only if named anew.
        for key in ("name", "tags", "notes"):
            if not any(f"tracking.{key}=" in word for word in sys.argv):
                described[key] = None
    elif "WANDB_NAME" not in os.environ:
        described["name"] = described["name"] or run_name(settings, run, job, sys.argv[1:])
    try:
        return _start(tracking, run, config=config, **described)
    except Exception as error:  # wandb raises many kinds
        if tracking.strict or isinstance(error, UsageError):
            raise
        hint = " For a run of its own: unset WANDB_RUN_ID" if "WANDB_RUN_ID" in os.environ else ""
        client.say(f"W&B cannot open the run ({client.reason(error)}); it is not tracked.{hint}")
        return None


def _start(tracking: WandbSettings, run: Run, **described: Any) -> RunLogger | None:
    """Start the run, offline without an API key or a server; return None if it is disabled.

    All files of W&B go into the run folder, so that a later upload finds them.
    """
    mode = client.requested_mode(tracking)
    if mode == "disabled":
        return None
    data = run.folder.absolute() / "wandb" / "data"
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"] = os.environ["WANDB_DATA_DIR"] = str(data)
    before = set(run.folder.glob("wandb/run-*"))
    if mode != "offline":
        url = client.wandb_settings().base_url
        problem = client.unreachable(url) if client.has_key() else "no valid API key"
        if not problem:
            try:
                return RunLogger(tracking, mode, run, **described)
            except (client.package().errors.CommError, OSError, ValueError) as error:
                for failed in set(run.folder.glob("wandb/run-*")) - before:
                    shutil.rmtree(failed)  # it is empty, and would be uploaded as a crashed run
                problem = f"the server cannot be reached ({client.reason(error)})"
        if tracking.strict:
            raise UsageError(f"W&B: {problem}, and tracking.strict=true.")
        client.say(f"W&B: {problem}: the run is recorded offline. {client.how_to_upload(run)}")
    return RunLogger(tracking, "offline", run, **described)


def _close(logger: RunLogger, error: BaseException | None) -> None:
    """Finish the W&B run with its exit code, and say if the upload is not complete."""
    code = 0 if error is None else 1  # W&B derives the state of the run from it
    if isinstance(error, SystemExit):  # by a signal; that of Lightning after SIGTERM has no code
        code = error.code if isinstance(error.code, int) else 143
    try:
        with logger.guarded("recording the end of the run"):
            _record_end(logger, error, code)
        # ~ if cookiecutter.scope == "essential"
        log_best_model(logger)
        # ~ endif
        problem = _finish(logger, code)
    except Exception as failure:  # noqa: BLE001 - wandb raises many kinds
        client.abandon()
        problem = client.reason(failure)
    if problem is not None:
        # ~ if cookiecutter.scope == "complete"
        for action in logger.artifacts:
            postpone(logger.run, action)
        # ~ endif
        fix = client.how_to_upload(logger.run)
        line = f"W&B: the upload is not complete ({problem}). {fix}"
        if logger.tracking.strict and error is None:
            raise UsageError(line)
        client.say(line)


def _record_end(logger: RunLogger, error: BaseException | None, code: int) -> None:
    """Record why the run has ended."""
    # ~ if cookiecutter.scope == "complete"
    if isinstance(error, Exception) and logger.tracking.alerts.failed:
        send_alert(logger, "Run failed", f"{logger.run.id}: {client.reason(error)}", "ERROR")
    # A sweep starts a preempted trial again. It ends trials itself, by SIGTERM.
    ended = SWEEP in os.environ and getattr(error, "signum", signal.SIGTERM) == signal.SIGTERM
    if code == 143 and not ended:
        logger.experiment.mark_preempting()
    # ~ endif
    if error and code:
        logger.experiment.summary["failure"] = client.reason(error)
    elif "failure" in logger.experiment.summary.keys():  # noqa: SIM118
        del logger.experiment.summary["failure"]  # of the session that this one has continued


def _finish(logger: RunLogger, code: int) -> str | None:
    """Finish the W&B run; return why its upload is not complete, None if it is or is due later."""
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
    # ~ if cookiecutter.scope == "complete"
    digests = [action["digest"] for action in logger.artifacts]
    problem = missing_on_server(next(folder.glob("*.wandb")), digests)
    needed = pending(logger.run) or any(folder.parent.glob("offline-*"))  # for a later upload
    if problem is None and not needed:
        # Copies of the files in artifacts, such as the model and the images of tables.
        shutil.rmtree(folder.parent / "data" / "artifacts", ignore_errors=True)
    return problem


    # ~ else
    # A run that the server has refused, such as after a change of the key, ends as quickly. The
    # server marks a run as crashed if it has not heard of it for some time.
    state = logger.wandb.Api(timeout=20).run(path).state
    if state == "finished" or (code and state not in {"running", "crashed"}):
        return None
    return "the server has not received the end of the run"


# ~ endif
def run_name(settings: Settings, run: Run, job: str, words: Sequence[str]) -> str:
    """Return task, model, data, the values that vary in a sweep, and the end of the run id.

    The name begins with the command ``job`` unless it is ``train``. ``words`` are the overrides.
    """
    tree: dict[str, Any] = flattened(settings.model_dump(mode="json", exclude={"tracking"}))
    parts = [] if job == "train" else [job]
    parts += [TASK.split()[-1], model_name(settings.model.model_dump()), settings.data.name]
    for key in varied_keys(words):
        if key in tree:
            value = f"{tree[key]:.4g}" if isinstance(tree[key], float) else tree[key]
            parts.append(f"{key.rsplit('.', 1)[-1]}={value}")
    return " ".join([*parts, run.id.rsplit("_", 1)[-1]])


def varied_keys(words: Sequence[str]) -> list[str]:
    """Return the keys of the overrides that vary in a multirun; in a sweep of W&B, of all."""
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
