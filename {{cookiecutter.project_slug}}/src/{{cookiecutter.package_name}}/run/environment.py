"""Record versions, git state and command line of a run, and redact secrets in texts."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

VERSIONS_OF = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "hydra-core", "numpy")
REDACTED = "***"
SECRET = re.compile(r"key(?!error)|token|secret|passw|pwd|credential|authorization", re.IGNORECASE)
NAME = rf"(?:{SECRET.pattern})[\w.-]*"
# Each pattern matches a secret and, as its group, the text in front of it, which stays.
PATTERNS = (
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?=-----END|\Z)",
    r"(://)(?:[^\s/:@]*:\S+|[^\s/@]+)(?=@)",  # user and password in a URL
    r"()\b(?:gh[oprsu]_|github_pat_|glpat-|hf_|xox[a-z]-|AKIA|AIza)[\w-]{10,}",
    r"()\bsk-[\w-]{20,}",
    r"(\bbearer\s+)[\w.~+/=-]+",
    r"((?:^|\s)(?:-u|--user)[\s=]*)\S+:\S+",  # of curl
    # After a name, for example of an option.
    rf"(--[\w-]*{NAME}\s+)(?:\"[^\"]*\"|'[^']*'|\S+)",
    # A value on the same line or the next, in quotes, or a block of YAML.
    rf"({NAME}[\"']?\s*[:=]\s*)(?:[>|][-+]?\s.*|\"[^\"]*\"[^\n]*|'[^']*'[^\n]*|[^\n]+)",
)


def environment() -> dict[str, object]:
    """Return the content of ``environment.json``: versions, git state, command line."""
    commit = git_output("rev-parse", "HEAD")
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *map(without_secrets, sys.argv[1:])]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": bool(git_output("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in VERSIONS_OF},
    }


def without_secrets(text: str) -> str:
    """Return the text with ``***`` in place of secrets.

    Secrets are texts with the form of a key or after a name such as ``api_key``, and the values of
    environment variables of such names, except paths.
    """
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) > 7 and not os.path.exists(value):  # noqa: PTH110
            text = text.replace(value, REDACTED)
    for pattern in PATTERNS:
        text = re.sub(pattern, rf"\1{REDACTED}", text, flags=re.IGNORECASE | re.DOTALL)
    return text


def redacted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with ``***`` in place of the secrets in the arguments of trackers.

    Other settings are numbers, names and paths, which may look like secrets: ``photos_key=3``.
    """
    return {**settings, "tracking": _redacted(settings.get("tracking"))}


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: REDACTED
            if isinstance(item, str | int) and SECRET.search(name)
            else _redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return without_secrets(value) if isinstance(value, str) else value


# ~ if cookiecutter.use_wandb
def unset_empty_variables() -> None:
    """Remove empty variables ``WANDB_...``: some tools pass variables that are not set as such."""
    for name in [name for name, value in os.environ.items() if not value]:
        if name.startswith("WANDB_"):
            del os.environ[name]


# ~ endif
def git_output(*arguments: str) -> str | None:
    """Return the output of git; None outside a repository, or if git is not installed."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
