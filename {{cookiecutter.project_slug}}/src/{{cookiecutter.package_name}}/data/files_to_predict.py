"""Find the files to predict, and name their outputs."""

import glob
import logging
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from .files import SUFFIXES, UNSUPPORTED, files_below

# ~ if cookiecutter.scope == "complete"
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
SUFFIXES_READ = SUFFIXES | VIDEO_SUFFIXES
# ~ else
SUFFIXES_READ = SUFFIXES
# ~ endif
MAX_NAME_BYTES = 160  # file systems allow 255 with prefix, suffix and temporary name

log = logging.getLogger(__name__)


def find_sources(source: str) -> list[Path]:
    """Return the sorted paths of a file, of the files below a folder, or of those of a glob."""
    path = Path(source)
    names: Iterable[str] = [source]
    if path.is_dir():
        names = files_below(path)
    elif not path.is_file():
        names = glob.iglob(source, recursive=True)  # noqa: PTH207 - the pattern may be absolute
    paths = sorted(Path(name) for name in names)
    unread = [path for path in paths if path.suffix.lower() in UNSUPPORTED - SUFFIXES_READ]
    if unread:
        text = "Files of formats that are not supported are left out: %d. The first is %s."
        log.warning(text, len(unread), unread[0])
    files = [path for path in paths if path.suffix.lower() in SUFFIXES_READ and path.is_file()]
    if not files:
        raise UsageError(
            f"source={source}: there is no file that can be predicted.\n"
            "Name a file, a folder or a quoted glob. Known suffixes: "
            f"{' '.join(sorted(SUFFIXES_READ))}"
        )
    return files


def output_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Map each path to the name of its output files, which is its file name without the suffix.

    The position of the path is added in front if the name would occur twice, ignoring case, or if
    it would denote a hidden file. Bytes that are not UTF-8 are left out, and long names are cut.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for position, path in enumerate(paths):
        name = path.stem.encode(errors="ignore")[:MAX_NAME_BYTES].decode(errors="ignore")
        while not name or name.startswith(".") or name.lower() in taken:
            name = f"{position:05d}_{name}"
        taken.add(name.lower())
        names[path] = name
    return names
