"""Record versions, git state and command line of a run, and hide secrets in texts."""

import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path

VERSIONS_OF = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "hydra-core", "numpy")
SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
ASSIGNED = re.compile(rf"([\w.-]*(?:{SECRET.pattern})[\w.-]*[\"']?\s*[:=]\s*)\S+", re.IGNORECASE)


def environment() -> dict[str, object]:
    """Return the content of ``environment.json``: versions, git state, command line."""
    commit = _git("rev-parse", "HEAD")
    return {
        "command": without_secrets(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain")) if commit else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in VERSIONS_OF},
    }


def without_secrets(text: str) -> str:
    """Return the text with secrets replaced by ``***``.

    Secrets are values assigned to names such as ``api_key`` in the text, and the values of
    environment variables with such names wherever they occur.
    """
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) > 7:
            text = text.replace(value, "***")
    return ASSIGNED.sub(r"\1***", text)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # git is not installed, or this is not a repository
    return done.stdout.strip()
