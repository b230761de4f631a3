"""Find the image files that an annotation file names."""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from urllib.parse import unquote

from ..errors import UsageError
# ~ if cookiecutter.task == "classification"
from .files import succeeds
from .reading_summary import Reading

# ~ else
from ..settings.data import DataFolder
from .files import succeeds
from .reading_summary import MISSING, Reading

# ~ endif
LOCATED_NAMES = 20  # how many names of an annotation file are tried to find the images
ZEROS = re.compile(r"^0+(?=\d+(\.\w+)?$)")  # in front of a name that is a number


def find_images(names: Sequence[str], folders: Sequence[Path]) -> tuple[list[Path], int]:
    """Return the paths of names, and how many leading folders of the names were dropped.

    All files are in the first folder in which one of the first ``LOCATED_NAMES`` names exists. If
    there is none, the names may come from another computer: their leading folders are dropped.
    Label Studio writes /data/local-files/?d= in front of a path.
    """
    names = [name.replace("\\", "/").rpartition("/?d=")[2] for name in names]
    tried = names[:LOCATED_NAMES]
    for dropped in range(max(name.count("/") for name in tried) + 1):
        for name, folder in product(tried, folders):
            if succeeds(existing_form(folder / name.split("/", dropped)[-1]).is_file):
                paths = [folder / name.split("/", dropped)[-1] for name in names]
                if dropped == 0 or len(set(paths)) == len(set(names)):
                    return paths, dropped
    folder = next((path for path in folders[1:] if succeeds(path.is_dir)), folders[0])
    return [folder / name for name in names], 0


# ~ if cookiecutter.task != "classification"
def existing_files(
    paths: Sequence[Path],
    root: Path,
    settings: DataFolder,
    reading: Reading,
    *,
    split: str,
    source: Path,
) -> list[Path | None]:
    """Return paths that the file ``source`` names in the form in which the files exist.

    A missing file is an error, or is counted and becomes None with ``data.skip_unreadable``.
    """
    found: list[Path | None] = [*paths]
    known = {*reading.listed(root).images}  # a system call for each image may take long
    if not all(str(path) in known or succeeds(path.is_file) for path in paths):
        found = [form if succeeds(form.is_file) else None for form in map(existing_form, paths)]
        pairs = [(path, form) for path, form in zip(paths, found, strict=True) if form]
        note_lost_zeros(source, pairs, reading)
        missing = [path for path, form in zip(paths, found, strict=True) if form is None]
        if missing and not settings.skip_unreadable:
            raise UsageError(
                f"{source} names {missing[0]}, which is missing ({len(missing)} of {len(paths)} "
                "images).\nAdd it, or leave such images out: data.skip_unreadable=true"
            )
        for path in missing:
            reading.leave_out("images", MISSING, path, split=split)
    if not settings.outside_root:
        check_inside(root, filter(None, found), source=source)
    return found


# ~ endif
def note_lost_zeros(
    source: Path, pairs: Iterable[tuple[str | Path, str | Path]], reading: Reading
) -> None:
    """Note names that lack the zeros of their file, from pairs of a name and the file."""
    named = ((Path(name), Path(file)) for name, file in pairs)
    lacking = [
        (name, file)
        for name, file in named
        if any(
            ZEROS.match(there) and len(given) < len(there)
            for given, there in zip(_backwards(name), _backwards(file), strict=False)
        )
    ]
    if lacking:
        reading.note(
            f"{source} has names without the zeros of the files, which spreadsheets drop: "
            f"{len(lacking)}, such as {lacking[0][0]}, which is read as {lacking[0][1]}."
        )


def _backwards(path: Path) -> list[str]:
    """Return the names in a path without the suffix, from the last one to the first one."""
    return [path.stem, *reversed(path.parts[:-1])]


def check_inside(root: Path, paths: Iterable[str | Path], *, source: Path) -> None:
    """Raise a UsageError if a path that a file names is not in the folder of the data set.

    A link in that folder may lead elsewhere. ``source`` is the file, for the message.
    """
    prefix, whole = f"{root}{os.sep}", f"{os.path.abspath(root)}{os.sep}"  # noqa: PTH100
    for path in map(str, paths):
        if path.startswith(prefix) and ".." not in path:
            continue  # a quick test, since there may be millions of paths
        inside = os.path.abspath(path).startswith(whole)  # noqa: PTH100
        if not (inside or Path(path).resolve().is_relative_to(root.resolve())):
            raise UsageError(
                f"{source} names {path}, which is outside data.root={root}.\n"
                "Name a folder that holds both as data.root, or allow it: data.outside_root=true"
            )


def existing_form(path: Path) -> Path:
    """Return the path with its names in the form in which the file or folder exists.

    macOS writes names in the Unicode form NFD, most other systems in the form NFC, some programs as
    in URLs, such as ``my%20cat.jpg``, and Windows and macOS do not tell ``a.JPG`` from ``a.jpg``.
    Spreadsheets drop the zeros in front of a number, such as ``0012.jpg``. A name is returned as it
    is if it exists in no form, or in several.
    """
    if succeeds(path.exists) or path.parent == path:
        return path
    folder = existing_form(path.parent)
    if not os.access(folder, os.R_OK) or not folder.is_dir():
        return folder / path.name
    names = _names_in(folder, folder.stat().st_mtime_ns)
    forms = (names.get(_normalised(name)) for name in (path.name, unquote(path.name)))
    return folder / next(filter(None, forms), path.name)


@lru_cache(maxsize=8)
def _names_in(folder: Path, _modified: int) -> dict[str, str | None]:
    """Map the normalised name of each entry to its name; to None if several entries share it."""
    names: dict[str, str | None] = {}
    for name in os.listdir(folder):  # noqa: PTH208 - faster than a Path
        form = _normalised(name)
        names[form] = None if form in names else name
    return with_lost_zeros(names)


def with_lost_zeros(names: dict[str, str | None]) -> dict[str, str | None]:
    """Add the names that numbers have without the zeros in front; None if several would share it.

    The values are the names or the paths of the files.
    """
    shorter: dict[str, str | None] = {}
    for name, file in names.items():
        short = ZEROS.sub("", name)
        shorter[short] = None if short in shorter else file
    return shorter | names


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
