"""Write files atomically: a reader sees the old content or the new content, never a part."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

HIDDEN = re.compile(r"\.[0-9a-f]{32}\..+")  # the names of the files that ``replacing`` yields


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a hidden file, which replaces ``path`` if the ``with`` block succeeds.

    If the block raises, the hidden file is removed and ``path`` stays as it was. The folder of the
    file is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the same: some writers choose the format by it.
    hidden = path.with_name(f".{uuid4().hex}.{path.name}")
    try:
        yield hidden
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Replace a file by UTF-8 text; bytes of a path that are not UTF-8 become ``\udc..``."""
    with replacing(path) as hidden:
        hidden.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Mapping[str, object] | list[dict[str, object]]) -> None:
    """Replace a file by indented JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Replace a file by a table in CSV format; None is an empty cell."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, table.getvalue())


def remove_leftovers(folder: Path) -> None:
    """Remove the hidden files of processes that were killed in ``replacing``, at any depth."""
    for path in folder.rglob(".*"):
        if HIDDEN.fullmatch(path.name):
            path.unlink(missing_ok=True)
