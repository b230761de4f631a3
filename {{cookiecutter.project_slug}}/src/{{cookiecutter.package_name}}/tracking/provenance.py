"""Record the state of code and data: uncommitted changes, and a fingerprint of the data set."""

import hashlib
import subprocess
from pathlib import Path

from ..data.images import files_below
from ..run.environment import without_secrets
from ..run.files import write_text
from .logger import RunLogger

ANNOTATIONS = {".json", ".txt", ".yaml", ".yml", ".csv"}
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


def fingerprint(root: Path) -> str:
    """Return a hash of the names and sizes of all files below ``root``: 12 hexadecimal digits.

    The content of annotation files is hashed, too. Images are not read, so the replacement of an
    image by another of the same number of bytes does not change the fingerprint.
    """
    digest = hashlib.sha256()
    for path in map(Path, files_below(root)):
        digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        if path.suffix.lower() in ANNOTATIONS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
