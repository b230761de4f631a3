"""Import the package ``wandb`` when it is needed, and find out in which mode a run can start."""

import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from ssl import SSLError
from threading import Thread
from types import ModuleType
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

from pydantic import ValidationError

from ..errors import UsageError
from ..run.environment import unset_empty_variables, without_secrets
from ..run.folder import Run
from ..run.rank import is_first
from .settings import Mode, WandbSettings

log = logging.getLogger(__name__)

ANSWER_SECONDS = 3  # for the server to answer at the start of a run


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
    """Return whether the package ``wandb`` is installed.

    An attempt to import it is not a test, since it succeeds with any folder named ``wandb``.
    """
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        return False
    return True


def package() -> ModuleType:
    """Import ``wandb`` with its error reports turned off, and return the module."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    unset_empty_variables()
    import wandb  # noqa: PLC0415 - it may be missing

    return wandb


def wandb_settings() -> Any:
    """Return the settings of W&B itself: its environment variables and its settings files.

    Raises:
        UsageError: if an environment variable has a value that W&B does not know.
    """
    wandb = package()
    try:
        return wandb.setup(wandb.Settings(silent=True)).settings
    except wandb.errors.UsageError as error:  # such as a key that ends with a line break
        raise UsageError(f"W&B refuses one of its environment variables: {error}.") from None
    except ValidationError as error:
        raise UsageError(
            "\n".join(
                f"WANDB_{str(problem['loc'][0]).upper()}={problem['input']}: {problem['msg']}."
                for problem in error.errors()
            )
        ) from None


def wandb_command(*words: str) -> str:
    """Run a command of wandb's command line, without error reports, and return its output.

    Raises:
        ValueError: if the command fails, with the last line that it has printed.
    """
    done = subprocess.run(  # noqa: S603 - the command line of wandb
        [sys.executable, "-m", "wandb", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WANDB_ERROR_REPORTING": "false"},
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise ValueError(lines[-1] if lines else f"wandb ended with {done.returncode}")
    return done.stdout


def read_records(file: Path) -> list[dict[str, Any]]:
    """Return the records in a ``.wandb`` file, as W&B's own reader prints them.

    Raises:
        ValueError: if the file cannot be read.
    """
    printed = wandb_command("leet", "inspect", "--json", str(file))
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


# ~ if cookiecutter.scope == "complete"
def public_api(tracking: Mapping[str, Any] | None = None) -> Any:
    """Return a ``wandb.Api`` whose default project and entity come from the settings."""
    wandb_settings()
    wandb = package()
    names = {key: (tracking or {}).get(key) for key in ("project", "entity")}
    return wandb.Api({key: name for key, name in names.items() if name}, timeout=20)


# ~ endif
def requested_mode(tracking: WandbSettings, environ: Mapping[str, str]) -> Mode | None:
    """Return the mode that the settings or else W&B's own settings ask for; None if neither does.

    W&B's own settings are ``WANDB_MODE`` and the commands ``wandb offline`` and ``wandb disabled``.

    Raises:
        UsageError: if W&B does not know the mode in ``WANDB_MODE``.
    """
    if tracking.mode is not None:
        return tracking.mode
    disabled = environ.get("WANDB_DISABLED", "").strip().lower() in {"1", "true", "yes", "on"}
    if disabled or environ.get("WANDB_MODE") == "disabled":
        return "disabled"
    if not installed():
        return None
    mode = {"dryrun": "offline", "run": "online"}.get(chosen := wandb_settings().mode, chosen)
    return None if mode == "online" and not environ.get("WANDB_MODE") else cast("Mode", mode)


def unreachable(url: str) -> str | None:
    """Return why the server at ``url`` does not answer; None if it does.

    W&B itself repeats its requests for a long time, which would delay the training. The thread
    limits the time of the name service, too, which has no timeout.
    """
    problems: list[str | None] = [f"no answer from {url} for {ANSWER_SECONDS} s"]

    def ask() -> None:
        try:
            urlopen(url, timeout=ANSWER_SECONDS).close()  # noqa: S310 - the address is http(s)
            problems.append(None)
        except (OSError, ValueError) as error:
            cause = error.reason if type(error) is URLError else error
            # With these errors, it answers: W&B reports what is wrong.
            answers = isinstance(cause, SSLError) or getattr(cause, "code", 500) < 500
            problems.append(None if answers else f"{url}: {cause}")

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return problems[-1]


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


def say(line: str) -> None:
    """Log a line for the user, in the first process only."""
    if is_first():
        log.info(line)
