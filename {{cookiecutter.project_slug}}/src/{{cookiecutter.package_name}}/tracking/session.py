"""Open a W&B run for whatever is going on, and close it with the right state."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..run.files import write_text
from ..run.folder import Run
from ..settings.tree import Settings
from ..task import METRICS
from .alerts import Alerts, tell_end
from .artifacts import ModelArtifacts
from .client import RUNS_TO_SYNC, Tracked, asked_mode, installed, open_run, reason, say
from .embeddings import EmbeddingCloud
from .facts import fingerprint, patch, run_config
from .lineage import DataLineage, log_predictions, use_checkpoint
from .measures import Measures
from .pending import COMPLETE, LINK, postpone
from .pictures import TrackedPictures, send_predictions
from .tables import EvaluationTables


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
        say("wandb is not installed: this run is not tracked. To track: uv sync")
        yield [], []
        return
    config = run_config(settings)
    first = getattr(rank_zero_only, "rank", 0) == 0
    if first and settings.data.root.is_dir():
        config["data_fingerprint"] = fingerprint(settings.data.root)
    tracked = open_run(tracking, mode, run, job=job, config=config)
    if not first:  # only the first process has a run
        yield [tracked.logger], []
        return
    _describe(tracked, settings)
    error: BaseException | None = None
    try:
        yield [tracked.logger], _callbacks(tracked, settings, config, job)
        if job == "predict":
            send_predictions(tracked, run)
            log_predictions(tracked, run)
    except BaseException as caught:
        error = caught
        raise
    finally:
        _finish(tracked, error)


def _describe(tracked: Tracked, settings: Settings) -> None:
    """What is told at the start: where it is, how to draw the metrics, what is not committed."""
    if not tracked.offline:
        say(f"W&B: {tracked.run.url}")
        write_text(tracked.folder.folder / LINK, f"{tracked.run.url}\n")
    with tracked.guarded("describing the run"):
        for name, goal in METRICS.items():
            # By epoch, and the best value is the one in the table of runs.
            tracked.run.define_metric(name, step_metric="epoch", summary=goal)
        changes = patch()
        if changes:
            path = tracked.folder.folder / "uncommitted.patch"
            write_text(path, changes)
            tracked.run.save(str(path), base_path=str(path.parent), policy="now")
    use_checkpoint(tracked, settings)


def _callbacks(
    tracked: Tracked, settings: Settings, config: dict[str, object], job: str
) -> list[Callback]:
    data = DataLineage(tracked, settings, str(config.get("data_fingerprint") or "") or None)
    tables = EvaluationTables(tracked, settings.data.root)
    if job == "predict":
        return []
    if job == "evaluate":
        return [data, tables]
    return [
        data,
        Measures(tracked),
        TrackedPictures(tracked),
        Alerts(tracked),
        ModelArtifacts(tracked, config),
        EmbeddingCloud(tracked),
        tables,
    ]


def exit_code(error: BaseException | None) -> int:
    """What the state of the run goes by: 0 finished, 130 interrupted, 143 terminated, else failed.

    Lightning turns Ctrl-C into ``SystemExit(1)`` and SIGTERM into a ``SystemExit`` of its own.
    """
    if error is None:
        return 0
    if isinstance(error, SIGTERMException):
        return 143
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return 130
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return 1


def _finish(tracked: Tracked, error: BaseException | None) -> None:
    with tracked.guarded("closing the run"):
        code = exit_code(error)
        if code not in {130, 143}:  # who pressed Ctrl-C knows, and who is preempted goes on
            tell_end(tracked, error)
        if error is not None and code:
            tracked.run.summary["failure"] = reason(error)
        if code == 143:
            tracked.run.mark_preempting()  # a sweep hands it out again, a scheduler resumes it
        folder, offline, began = Path(tracked.run.dir).parent, tracked.offline, time.monotonic()
        tracked.run.finish(exit_code=code)
        if not offline and time.monotonic() - began < tracked.tracking.finish_timeout:
            (folder / COMPLETE).touch()
        elif not offline:
            for action in tracked.logged:
                postpone(tracked.folder, action)
            say(f"W&B: not all of it has arrived. {RUNS_TO_SYNC}")
