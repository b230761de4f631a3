"""Import the package ``wandb`` when it is needed, and find out in which mode a run can start."""

# ~ if cookiecutter.scope == "complete"
import json
# ~ endif
import logging
import os
import shlex
# ~ if cookiecutter.scope == "complete"
import subprocess
import sys
from collections.abc import Mapping
# ~ endif
from contextlib import suppress
from importlib import metadata
# ~ if cookiecutter.scope == "complete"
from pathlib import Path
# ~ endif
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from ..errors import UsageError
from ..run.environment import unset_empty_variables, without_secrets
from ..run.folder import Run
from .settings import WandbSettings

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # also in the processes that it starts
say = logging.getLogger(__name__).info  # logs a line for the user


def how_to_upload(run: Run) -> str:
    """Return a sentence with the command that uploads a run later."""
    # ~ if cookiecutter.scope == "complete"
    return f"To upload it later: uv run wandb-sync {shlex.quote(str(run.folder.parent))}"


    # ~ else
    files = f"{shlex.quote(str(run.folder / 'wandb'))}/*run-*"
    return f"To upload it later: uv run wandb sync --include-online --include-synced {files}"


# ~ endif
def installed() -> bool:
    """Return whether ``wandb`` is installed; an import would succeed with any folder ``wandb``."""
    return any(metadata.distributions(name="wandb"))


def package() -> ModuleType:
    """Import ``wandb`` and return the module; raise a ``UsageError`` if it is not installed."""
    if not installed():
        raise UsageError("wandb is not installed. Install it: uv sync")
    unset_empty_variables()
    import wandb  # noqa: PLC0415 - it may be missing

    return wandb


def wandb_settings() -> Any:
    """Return the settings of W&B itself, from its environment variables and settings files."""
    wandb = package()
    try:
        return wandb.setup(wandb.Settings(silent=True)).settings
    except wandb.errors.UsageError as error:  # such as a key that ends with a line break
        raise UsageError(f"W&B refuses one of its environment variables: {error}.") from None
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"WANDB_{problem['loc'][0]}".upper()
        raise UsageError(f"{name}={problem['input']}: {problem['msg']}.") from None


def requested_mode(tracking: WandbSettings) -> str:
    """Return ``tracking.mode``, else that of ``WANDB_MODE``, ``wandb offline`` or ``disabled``."""
    known = wandb_settings()
    mode: str = tracking.mode or known.mode
    return {"dryrun": "offline", "run": "online"}.get(mode, mode)


# ~ if cookiecutter.scope == "complete"
def wandb_command(*words: str) -> str:
    """Return the output of a command of wandb; raise ``ValueError`` with its end if it fails."""
    command = [sys.executable, "-m", "wandb", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ValueError((done.stderr + done.stdout).strip().rpartition("\n")[2])
    return done.stdout


def read_records(file: Path) -> list[dict[str, Any]]:
    """Return the records in a ``.wandb`` file; raise ``ValueError`` if it cannot be read."""
    printed = wandb_command("leet", "inspect", "--json", str(file))
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def public_api(tracking: Mapping[str, Any] | None = None) -> Any:
    """Return a ``wandb.Api`` whose default project and entity come from the settings."""
    wandb_settings()
    names = {key: (tracking or {}).get(key) for key in ("project", "entity")}
    return package().Api({key: name for key, name in names.items() if name}, timeout=20)


# ~ endif
def abandon() -> None:
    """End the run that W&B has open in this process, whatever state it is in."""
    wandb = package()
    for end in (wandb.finish, wandb.teardown):
        with suppress(Exception, SystemExit):
            end(exit_code=1)


def reason(error: BaseException) -> str:
    """Return the first line of the message of an error, without secrets.

    The name of the class precedes it, except that of a plain ``UsageError``.
    """
    text = "" if type(error) is UsageError else f"{type(error).__name__}: "
    text += str(error).strip()
    return without_secrets(text.partition("\n")[0].removesuffix(": "))
