"""The package ``wandb``, which only this module imports, and only when it is needed."""

import logging
import os
from collections.abc import Mapping
from importlib import metadata
from types import ModuleType

from ..run.environment import without_secrets
from ..run.identity import is_first
from .settings import Mode, WandbSettings

log = logging.getLogger(__name__)

# ~ if cookiecutter.scope == "complete"
HOW_TO_UPLOAD = "To upload it later: uv run wandb-sync"

# ~ else
HOW_TO_UPLOAD = "To upload it later: uv run wandb sync runs/<run id>/wandb/*run-*"

# ~ endif
MODES: dict[str, Mode] = {
    "online": "online", "run": "online", "offline": "offline", "dryrun": "offline",
}  # fmt: skip


def installed() -> bool:
    """Whether the package is installed; an import would succeed with any folder named ``wandb``."""
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        return False
    return True


def package() -> ModuleType:
    """Import the package, without its error reports."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # wandb refuses an empty mode
    import wandb  # noqa: PLC0415 - it may be missing

    return wandb


def requested_mode(tracking: WandbSettings, environ: Mapping[str, str]) -> Mode | None:
    """The mode that the environment or the settings ask for; None if neither does.

    The environment can disable tracking whatever the settings say.
    """
    variable = environ.get("WANDB_MODE", "").strip().lower()
    disabled = environ.get("WANDB_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}
    if disabled or variable == "disabled":
        return "disabled"
    return tracking.mode or MODES.get(variable)


def has_key() -> bool:
    """Whether this machine has an API key."""
    wandb = package()
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.errors.Error, OSError, ValueError) as error:
        log.debug("no usable key: %s", error)
        return False


def reason(error: BaseException) -> str:
    """The class of an error and the first line of its message, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(": ".join([type(error).__name__, *lines[:1]]))


def say(line: str) -> None:
    """Log a line for the user, in the first process only."""
    if is_first():
        log.info(line)
