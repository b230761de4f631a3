"""Import the package ``wandb`` when it is needed, and read the mode and the API key."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
# ~ if cookiecutter.scope == "complete"
from types import ModuleType
from typing import Any

# ~ else
from types import ModuleType

# ~ endif
from ..run.environment import without_secrets
from ..run.identity import is_first
from .settings import Mode, WandbSettings

log = logging.getLogger(__name__)

# ~ if cookiecutter.scope == "complete"
HOW_TO_UPLOAD = "To upload it later: uv run wandb-sync"
TIMEOUT = 20  # seconds before a request of ``public_api`` fails

# ~ else
HOW_TO_UPLOAD = "To upload it later: uv run wandb sync runs/<run id>/wandb/*run-*"

# ~ endif
MODES: dict[str, Mode] = {
    "online": "online", "run": "online", "offline": "offline", "dryrun": "offline",
}  # fmt: skip


def installed() -> bool:
    """Return whether the package ``wandb`` is installed.

    An attempt to import it is no test, since it succeeds with any folder named ``wandb``.
    """
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        return False
    return True


def package() -> ModuleType:
    """Import ``wandb`` with its error reports turned off, and return the module."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # wandb refuses an empty mode
    import wandb  # noqa: PLC0415 - it may be missing

    return wandb


def wandb_command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of wandb's command line, without error reports; its output is captured."""
    return subprocess.run(  # noqa: S603 - the command line of wandb
        [sys.executable, "-m", "wandb", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WANDB_ERROR_REPORTING": "false"},
    )


# ~ if cookiecutter.scope == "complete"
def public_api(tracking: Mapping[str, Any] | None) -> Any:
    """Return a ``wandb.Api`` whose default project and entity come from the settings."""
    wandb = package()
    wandb.setup(wandb.Settings(silent=True))
    names = {key: (tracking or {}).get(key) for key in ("project", "entity")}
    return wandb.Api({key: name for key, name in names.items() if name}, timeout=TIMEOUT)


# ~ endif
def requested_mode(tracking: WandbSettings, environ: Mapping[str, str]) -> Mode | None:
    """Return the mode that the environment or the settings ask for; None if neither does.

    ``WANDB_MODE=disabled`` and ``WANDB_DISABLED=true`` take precedence over the settings.
    """
    variable = environ.get("WANDB_MODE", "").strip().lower()
    disabled = environ.get("WANDB_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}
    if disabled or variable == "disabled":
        return "disabled"
    return tracking.mode or MODES.get(variable)


def has_key() -> bool:
    """Return whether an API key is stored on this machine or set in the environment."""
    wandb = package()
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.errors.Error, OSError, ValueError) as error:
        log.debug("no usable key: %s", error)
        return False


def reason(error: BaseException) -> str:
    """Return the class of an error and the first line of its message, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(": ".join([type(error).__name__, *lines[:1]]))


def say(line: str) -> None:
    """Log a line for the user, in the first process only."""
    if is_first():
        log.info(line)
