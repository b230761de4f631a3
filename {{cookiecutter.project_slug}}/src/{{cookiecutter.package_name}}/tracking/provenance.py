"""Record the state of code and data: uncommitted changes, and a fingerprint of the data set."""

import hashlib
import os
from pathlib import Path

from ..data.files import files_below
from ..run.environment import git_output
from ..run.files import write_text
from .logger import RunLogger

ANNOTATIONS = {".json", ".txt", ".yaml", ".yml", ".csv"}


def log_changes(logger: RunLogger) -> None:
    """Log a summary of the uncommitted changes as ``uncommitted.txt``.

    The changes themselves are not logged, because they may contain secrets.
    """
    files, lines = git_output("status", "--short"), git_output("diff", "--stat", "HEAD")
    if files:
        path = logger.run.folder / "uncommitted.txt"
        with logger.guarded("sending the summary of the uncommitted changes"):
            write_text(path, f"{files}\n\n{lines or ''}\n")
            logger.experiment.save(str(path), base_path=str(path.parent), policy="now")


def fingerprint(root: Path) -> str:
    """Return a hash of the names and sizes of all files below ``root``: 12 hexadecimal digits.

    The content of annotation files is hashed, too. Images are not read, so an image that is
    replaced by one of the same size in bytes keeps the fingerprint.
    """
    digest = hashlib.sha256()
    for path in map(Path, files_below(root)):
        digest.update(os.fsencode(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0"))
        if path.suffix.lower() in ANNOTATIONS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
