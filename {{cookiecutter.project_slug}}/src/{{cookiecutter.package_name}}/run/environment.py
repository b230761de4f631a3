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
SECRET = re.compile(
    r"(?<!mon|don|tur)key(?!error|point|board)|token|secret|passw|pwd|credential|authorization",
    re.IGNORECASE,
)
NAME = rf"(?:{SECRET.pattern})[\w.-]*"
# Each pattern matches a secret and, as its group, the text in front of it, which stays. PATTERNS
# find secrets by their own form, ASSIGNMENTS by the name in front of them.
QUERY = re.compile(  # in the query of a URL
    rf"([?&][\w.-]*{NAME}=)(?:(?!,\w+://)[^\s&\"'\])}}])+", re.IGNORECASE
)
PATTERNS = [
    re.compile(r"(://)(?:[^\s/:@]*:(?!\d+/)\S+|[^\s/@]+)(?=@)"),  # user and password in a URL
    re.compile(r"()\b(?:gh[oprsu]_|github_pat_|glpat-|hf_|sk-|AIza)[\w-]{20,}"),  # of services
    re.compile(r"()\b(?:xox[abpr]-|AKIA)[\w-]{12,}"),  # of Slack and AWS
]
ASSIGNMENTS = [
    re.compile(rf"(--[\w-]*{NAME}\s+)(?:\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE),
    # The value is the rest of the line, or the next line.
    re.compile(rf"({NAME}[\"']?\s*[:=]\s*)[^\n]+", re.IGNORECASE),
]


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


def without_secrets(text: str, *, assigned: bool = True) -> str:
    """Return the text with secrets replaced by ``***``.

    Secrets are texts with the form of a key, and the values of environment variables with names
    such as ``API_KEY``, except paths: a folder may have the name that is the value of a variable.
    With ``assigned``, a text after such a name is redacted, too.
    """
    for name, value in os.environ.items() if not os.path.exists(text) else ():  # noqa: PTH110
        if SECRET.search(name) and len(value) > 7 and not os.path.exists(value):  # noqa: PTH110
            text = text.replace(value, REDACTED)
    if "://" in text:
        text = QUERY.sub(rf"\1{REDACTED}", text)
    for pattern in [*PATTERNS, *ASSIGNMENTS] if assigned else PATTERNS:
        text = pattern.sub(rf"\1{REDACTED}", text)
    return text


def redacted(value: Any, *, tracker: bool = False) -> Any:
    """Return settings, a tree of plain values, with the secrets in their texts redacted.

    Arguments of an experiment tracker with names such as ``api_key`` are redacted as a whole. In
    other settings, a path such as ``photos_key=3`` has no secret.
    """
    if isinstance(value, Mapping):
        return {
            name: REDACTED
            if tracker and isinstance(item, str | int) and SECRET.search(name)
            else redacted(item, tracker=tracker or name == "tracking")
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item, tracker=tracker) for item in value]
    return without_secrets(value, assigned=tracker) if isinstance(value, str) else value


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
