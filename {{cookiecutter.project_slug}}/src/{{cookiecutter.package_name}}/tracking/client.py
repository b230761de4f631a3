"""Import the package ``wandb`` when it is needed, and find out in which mode a run can start."""

import json
import logging
import os
import shlex
import subprocess
import sys
# ~ if cookiecutter.scope == "complete"
from collections.abc import Callable, Mapping
# ~ else
from collections.abc import Callable
# ~ endif
from concurrent.futures import Future
from contextlib import suppress
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from ssl import SSLError
from threading import Thread
from types import ModuleType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from pydantic import ValidationError

from ..errors import UsageError
from ..run.environment import unset_empty_variables, without_secrets
from ..run.folder import Run
from .settings import Mode, WandbSettings

ANSWER_SECONDS = 3  # for the server to answer at the start of a run

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # also in the processes that it starts
say = logging.getLogger(__name__).info  # logs a line for the user


def how_to_upload(run: Run) -> str:
    """Return a sentence with the command that uploads a run later."""
    # ~ if cookiecutter.scope == "complete"
    runs = str(run.folder.parent)
    command = shlex.join(["uv", "run", "wandb-sync", *([runs] if runs != "runs" else [])])
    # ~ else
    folder = shlex.quote(str(run.folder / "wandb"))
    command = f"uv run wandb sync --include-online --include-synced {folder}/*run-*"
    # ~ endif
    return f"To upload it later: {command}"


def installed() -> bool:
    """Return whether ``wandb`` is installed; an import would succeed with any folder ``wandb``."""
    return any(metadata.distributions(name="wandb"))


def package() -> ModuleType:
    """Import ``wandb`` and return the module."""
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


# ~ if cookiecutter.scope == "complete"
def public_api(tracking: Mapping[str, Any] | None = None) -> Any:
    """Return a ``wandb.Api`` whose default project and entity come from the settings."""
    wandb_settings()
    names = {key: (tracking or {}).get(key) for key in ("project", "entity")}
    return package().Api({key: name for key, name in names.items() if name}, timeout=20)


# ~ endif
def requested_mode(tracking: WandbSettings) -> Mode:
    """Return ``tracking.mode``, else that of ``WANDB_MODE``, ``wandb offline`` or ``disabled``."""
    synonyms: dict[str, Mode] = {"dryrun": "offline", "run": "online"}
    mode = tracking.mode or wandb_settings().mode
    return synonyms.get(mode, mode)


def within(seconds: float, call: Callable[[], object]) -> None:
    """Run a call in a thread; after ``seconds``, raise ``TimeoutError`` and let it go on."""
    done: Future[object] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised by ``result``
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    done.result(seconds)


def unreachable(url: str) -> str | None:
    """Return why the server does not answer, None if it does; W&B itself would retry for long."""
    try:  # ``timeout`` does not limit the time of the name service
        within(ANSWER_SECONDS, lambda: urlopen(url, timeout=ANSWER_SECONDS).close())  # noqa: S310
    except TimeoutError:
        return f"{url} cannot be reached: no answer for {ANSWER_SECONDS} s"
    except (OSError, ValueError, HTTPException) as error:
        cause = error.reason if type(error) is URLError else error
        # The server has answered with these errors; W&B then reports the problem.
        if not isinstance(cause, SSLError) and getattr(cause, "code", 500) >= 500:
            return f"{url} cannot be reached: {cause}"
    return None


def has_key() -> bool:
    """Return whether an API key is stored on this machine or set in the environment."""
    wandb = package()
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except (wandb.errors.Error, OSError, ValueError):
        return False


def abandon() -> None:
    """End the run that W&B has open in this process, whatever state it is in."""
    wandb = package()
    for end in (wandb.finish, wandb.teardown):
        with suppress(Exception, SystemExit):
            end(exit_code=1)


def reason(error: BaseException) -> str:
    """Return the class of an error and the first line of its message, without secrets."""
    lines = str(error).strip().splitlines()
    return without_secrets(": ".join([type(error).__name__, *lines[:1]]))
