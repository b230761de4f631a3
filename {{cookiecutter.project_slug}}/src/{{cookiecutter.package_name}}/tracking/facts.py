"""Record the uncommitted changes of the code."""

import subprocess

from ..run.environment import without_secrets
from ..run.files import write_text
from .logger import RunLogger

MAX_PATCH_BYTES = 1_000_000


def log_patch(logger: RunLogger) -> None:
    """Log the uncommitted changes as ``uncommitted.patch``, without secrets."""
    try:
        done = subprocess.run(
            ["git", "diff", "HEAD"],  # noqa: S607 - the git of the user
            capture_output=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return  # no git, no repository or no commit
    if done.stdout:
        path = logger.run.folder / "uncommitted.patch"
        text = done.stdout[:MAX_PATCH_BYTES].decode(errors="replace")
        with logger.guarded("sending the uncommitted changes"):
            write_text(path, without_secrets(text))
            logger.experiment.save(str(path), base_path=str(path.parent), policy="now")
