"""Open the W&B run of a command, and close it with the right state."""

import os
# ~ if cookiecutter.scope == "complete"
import shutil
# ~ endif
import sys
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
from .alerts import check_rules
from .images import ValidationImages, log_drawn_predictions
from .lineage import Lineage, log_checkpoint_source, log_predictions
from .logger import SWEEP, RunLogger
from .network_plots import NetworkPlots
from .settings import WandbSettings
from .sync import do_pending
from .tables import EvaluationTables
from .upload_status import Session, sessions


# ~ else
from ..settings.schema import TASK, Settings, model_name
from ..training.checkpoint import read_checkpoint
from . import client
from .images import ValidationImages
from .logger import SWEEP, RunLogger
from .settings import WandbSettings


# ~ endif
@contextmanager
def wandb_run(
    tracking: WandbSettings, settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[list[RunLogger], list[Callback]]]:
    """Yield logger and callbacks of the W&B run of the command ``job``, and finish it at the end.

    Two empty lists are yielded if the run is not tracked, and in all processes but the first.
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
    tables = EvaluationTables(logger, settings.data.root)
    callbacks += [Lineage(logger, settings), NetworkPlots(logger), tables]
    # ~ endif
    try:
        with logger.guarded("showing its address"):
            if not logger.offline:
                client.say(f"W&B: {logger.experiment.url}")
                write_text(run.folder / "wandb-url.txt", f"{logger.experiment.url}\n")
        # ~ if cookiecutter.scope == "complete"
        logger.log_lasting(
            "recording the checkpoint", lambda logger: log_checkpoint_source(logger, settings)
        )
        # ~ endif
        yield [logger], [] if job == "predict" else callbacks
        # ~ if cookiecutter.scope == "complete"
        if isinstance(settings, PredictSettings):
            folder = settings.output or run.folder
            log_drawn_predictions(logger, folder)
            log_predictions(logger, folder)
        else:
            tables.send()
        if tracking.alerts.finished:
            logger.alert("Run finished", run.id, "INFO")
        # ~ endif
    except BaseException as error:
        _close(logger, error)
        raise
    _close(logger, None)


def _opened(tracking: WandbSettings, settings: Settings, run: Run, job: str) -> RunLogger | None:
    """Open the run; if it is not tracked, say why and return None."""
    if not client.installed():
        client.say("wandb is not installed: this run is not tracked. To track: uv sync")
        return None
    state = environment()
    config = redacted(settings.model_dump(mode="json", exclude={"tracking"}))
    config["git"] = {"commit": state["git_commit"], "dirty": state["git_dirty"]}
    config["command"] = state["command"]
    keys = {"project", "entity", "name", "group", "job_type", "tags", "notes"}
    described = redacted(tracking.model_dump(include=keys), tracker=True)
    described["job_type"] = described["job_type"] or os.environ.get("WANDB_JOB_TYPE", job)
    described["tags"] = described["tags"] or None  # None: WANDB_TAGS
    if any(run.folder.glob("wandb/*run-*")):
        # They may have been changed on the server, so a resumed run sends them only if named anew.
        named = {word.partition("=")[0].lstrip("+").removeprefix("tracking.") for word in sys.argv}
        described |= dict.fromkeys({"name", "tags", "notes"} - named)
    elif "WANDB_NAME" not in os.environ:
        described["name"] = described["name"] or run_name(settings, run, job, sys.argv[1:])
    try:
        return _start(tracking, run, config=config, **described)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        hint = " For a run of its own: unset WANDB_RUN_ID" if "WANDB_RUN_ID" in os.environ else ""
        client.say(f"W&B cannot open the run ({client.reason(error)}); it is not tracked.{hint}")
        return None


def _start(tracking: WandbSettings, run: Run, **described: Any) -> RunLogger | None:
    """Start the run, offline without an API key or a server; return None if it is disabled."""
    mode = client.requested_mode(tracking)
    if mode == "disabled":
        return None
    data = run.folder.absolute() / "wandb" / "data"  # with all files that are uploaded later
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"] = os.environ["WANDB_DATA_DIR"] = str(data)
    if mode != "offline":
        wandb, problem = client.package(), "no valid API key"
        try:
            if wandb.login(prompt=False, verify=False):
                return RunLogger(tracking, mode, run, **described)
        except (wandb.errors.CommError, OSError, ValueError) as error:
            problem = f"the server cannot be used ({client.reason(error)})"
        client.say(f"W&B: {problem}: the run is recorded offline. {client.how_to_upload(run)}")
    return RunLogger(tracking, "offline", run, **described)


def _close(logger: RunLogger, error: BaseException | None) -> None:
    """Finish the W&B run with its exit code, and say if the upload is not complete."""
    code = 0 if error is None else 1  # W&B derives the state of the run from it
    if isinstance(error, SystemExit):  # by a signal; that of Lightning after SIGTERM has no code
        code = error.code if isinstance(error.code, int) else 143
    try:
        with logger.guarded("recording the end of the run"):
            # ~ if cookiecutter.scope == "complete"
            if isinstance(error, Exception):
                logger.alert("Run failed", f"{logger.run.id}: {client.reason(error)}", "ERROR")
            # ~ endif
            if error and code:
                logger.experiment.summary["failure"] = client.reason(error)
            elif "failure" in logger.experiment.summary.keys():  # noqa: SIM118
                del logger.experiment.summary["failure"]  # of the session before the resume
        # ~ if cookiecutter.scope == "essential"
        with logger.guarded("logging the model"):
            log_best_model(logger)
        # ~ endif
        problem = _finish(logger, code)
    except Exception as failure:  # noqa: BLE001 - wandb raises many kinds
        client.abandon()
        problem = client.reason(failure)
    if problem is not None:
        # ~ if cookiecutter.scope == "complete"
        if not logger.offline:
            try:
                _record_again(logger, error, code)
            except Exception:  # noqa: BLE001 - the line below is logged in any case
                client.abandon()
        # ~ endif
        how = client.how_to_upload(logger.run)
        client.say(f"W&B: the upload is not complete ({problem}). {how}")


# ~ if cookiecutter.scope == "complete"
def _record_again(logger: RunLogger, error: BaseException | None, code: int) -> None:
    """Record artifacts and tables in an offline session: W&B's file of an online one has none."""
    again = RunLogger(logger.tracking, "offline", logger.run, **logger.described)
    again.failures = logger.failures
    for log in logger.lasting:
        with logger.guarded("recording it again"):
            log(again)
    failure = {"failure": client.reason(error)} if error and code else {}
    again.experiment.summary.update(logger.scores | failure)
    again.experiment.finish(exit_code=code)


# ~ else
def log_best_model(logger: RunLogger) -> None:
    """Log the best checkpoint, with the split of the data, as the artifact ``model-<run id>``."""
    run = logger.run
    if logger.tracking.log_model == "best" and run.best.is_file():
        checkpoint = read_checkpoint(run.best)
        metadata = {"epoch": checkpoint["epoch"], **checkpoint.get("scores", {})}
        artifact = logger.wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
        for path in [run.best, run.split] if run.split.is_file() else [run.best]:
            artifact.add_file(str(path), name=path.name)
        logger.experiment.log_artifact(artifact, aliases=["best"])


# ~ endif
def _finish(logger: RunLogger, code: int) -> str | None:
    """Finish the W&B run; return why its upload is not complete, None if it is or is due later."""
    # ~ if cookiecutter.scope == "complete"
    folder = Path(logger.experiment.dir).parent
    # ~ else
    path = logger.experiment.path
    # ~ endif
    logger.experiment.finish(exit_code=code)
    if logger.offline:
        return None
    # ~ if cookiecutter.scope == "complete"
    problem = Session(next(folder.glob("*.wandb")), logger.digests).check()
    recorded = sessions(folder.parent)
    if problem is None and all(session.mark.exists() for session in recorded):
        problem = "; ".join(do_pending(logger.run, recorded)) or None
        # Copies of the files in artifacts, such as the model and the images of tables.
        shutil.rmtree(folder.parent / "data" / "artifacts", ignore_errors=True)
    return problem


    # ~ else
    # A run that the server has refused, such as after a change of the key, ends without an error.
    # The server marks a run as crashed if it has not heard of it for some time.
    state = logger.wandb.Api(timeout=20).run(path).state
    arrived = state == "finished" or (code and state not in {"running", "crashed"})
    return None if arrived else "the server has not received the end of the run"


# ~ endif
def run_name(settings: Settings, run: Run, job: str, words: Sequence[str]) -> str:
    """Return task, model, data, what varies in a sweep by the overrides, and the end of the id."""
    tree: dict[str, Any] = flattened(settings.model_dump(mode="json", exclude={"tracking"}))
    # ~ if cookiecutter.scope == "complete"
    varied = os.environ.get(VARIED, "").split(",")
    # ~ else
    varied = []
    # ~ endif
    parser = OverridesParser.create()
    for word in words:
        with suppress(HydraException):  # a word such as --multirun is not an override
            override = parser.parse_override(word)
            if override.is_sweep_override() or SWEEP in os.environ:  # the agent gives what varies
                varied.append(override.key_or_group)
    parts = [*([] if job == "train" else [job]), TASK.split()[-1]]
    parts += [model_name(settings.model.model_dump()), settings.data.name]
    for key in [key for key in varied if key in tree]:
        value = f"{tree[key]:.4g}" if isinstance(tree[key], float) else tree[key]
        parts.append(f"{key.rsplit('.', 1)[-1]}={value}")
    return " ".join([*parts, run.id.rsplit("_", 1)[-1]])
