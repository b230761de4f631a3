"""Open the experiment trackers that the settings specify."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from ..errors import UsageError
from ..run.environment import redacted
from ..run.folder import Run
from ..settings.check_settings import flattened
from ..settings.schema import Settings
from ..settings.tracking import TARGET, split_trackers


@contextmanager
def open_trackers(
    settings: Settings, run: Run, *, job: str
) -> Iterator[tuple[list[Logger], list[Callback]]]:
    """Open the trackers of ``settings.tracking``, and close them when the block ends.

    A tracker is a Lightning logger, which is built from its arguments, or a class of settings. The
    attribute ``opened_by`` of such a class is the name of a function, which takes the settings, the
    run and the command ``job``, and returns a context manager that yields loggers and callbacks.
    """
    loggers: list[Logger] = []
    callbacks: list[Callback] = []
    with ExitStack() as stack:
        for path, tracker in split_trackers(settings.tracking or {}).items():
            try:
                target = resolve_name(tracker[TARGET])
            except Exception as error:
                raise UsageError(f"{path}.{TARGET}={tracker[TARGET]}: {error}") from error
            if hasattr(target, "opened_by"):
                opened = resolve_name(target.opened_by)(target(**tracker), settings, run, job=job)
                more_loggers, more_callbacks = stack.enter_context(opened)
                loggers += more_loggers
                callbacks += more_callbacks
            else:
                loggers.append(_logger(path, target, tracker, settings))
        yield loggers, callbacks


def _logger(path: str, target: Any, tracker: Mapping[str, Any], settings: Settings) -> Logger:
    """Build a Lightning logger, and log the settings as its hyperparameters."""
    arguments = {name: value for name, value in tracker.items() if name != TARGET}
    if not (isinstance(target, type) and issubclass(target, Logger)):
        raise UsageError(
            f"{path}.{TARGET}={tracker[TARGET]} is not a logger of Lightning.\n"
            "Name a logger, or choose a file of configs/tracking: tracking=<name>"
        )
    try:
        logger = target(**arguments)
        _ = getattr(logger, "experiment", None)  # creating it checks further arguments
        hyperparameters = settings.model_dump(mode="json", exclude={"tracking"})
        logger.log_hyperparams(flattened(redacted(hyperparameters)))
    except ModuleNotFoundError as error:
        needed = str(error).strip().partition("\n")[0]
        fix = "uv sync --extra tensorboard" if "tensorboard" in needed else "uv add <package>"
        raise UsageError(f"{path}: {target.__name__}: {needed} Install it: {fix}") from error
    except Exception as error:
        raise UsageError(f"{path}: {target.__name__}: {error}") from error
    return logger
