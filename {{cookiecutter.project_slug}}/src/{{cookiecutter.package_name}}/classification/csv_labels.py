"""Read the image and the labels of each row of CSV files."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files import SUFFIXES, folder_of, how_to_read, list_images, split_of
from ..data.image_paths import (
    check_inside,
    existing_form,
    find_images,
    note_lost_zeros,
    with_lost_zeros,
)
from ..data.reading_summary import MISSING, Reading, number_of
from ..errors import UsageError
from ..settings.classification import CsvSettings
from .csv_table import BINARY, Columns, Row, find_columns, find_files, has_columns, read_rows

NO_NAMES = {"#n/a", "n/a", "na", "nan", "null"}  # which may say that a label is missing
SEPARATORS = ";|,"
UNLIKELY_SEPARATORS = " /"  # names of classes may contain them, too
UPLOADED = re.compile(r"^(https?://[^/]+)?/data/upload/(\d+/)?")  # of Label Studio
LIST = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)", re.DOTALL)  # of Python, JSON or a database


def read_csv(
    settings: CsvSettings, reading: Reading
) -> tuple[list[str], dict[str, list[tuple[str, Any]]]]:
    """Read the images and labels of ``data.root``, a CSV file or the folder that holds it.

    Returns:
        The class names, and for each split the path and the target of each image: the index of its
        class or, with ``multilabel``, a uint8 array [classes] of 0 and 1. Without splits, all
        images are those of train.
    """
    files = find_files(settings.root, reading)
    tables = {split: read_rows(file, split) for split, file in files.items()}
    folder = files["train"].parent
    columns = find_columns(tables["train"], settings, reading)
    if "test" in tables and not {*columns.labels} & tables["test"][0].cells.keys():
        reading.note(f"{files['test']} has no labels, so it is not used for the test.")
        del tables["test"]
    if not all(has_columns(table, columns, settings, reading) for table in tables.values()):
        raise UsageError(f"The CSV files in {folder} have different columns of labels or paths.")
    rows = _with_splits([row for table in tables.values() for row in table], columns, reading)
    if not rows:
        raise UsageError(
            f"{folder}: all rows are for test and have no label.\n"
            "Name the file with the labels: data.root=<file>.csv"
        )
    _read_labels(rows, columns, settings, reading)
    for _, table in groupby(rows, attrgetter("file")):
        _find_paths([*table], columns.path, reading)
    images = _images(rows, settings, reading, join=settings.multilabel and not columns.binary)
    classes = columns.labels if columns.binary else _sorted_classes([row.labels for row in rows])
    if len(classes) < (1 if settings.multilabel else 2):
        raise UsageError(f"{folder}: there must be two classes, but there is only {classes}.")
    for name in (name for name in classes if name.lower() in NO_NAMES):
        reading.note(
            f"{folder}: {name} is read as a class. If it means that a label is missing, remove "
            "these rows."
        )
    index = {name: position for position, name in enumerate(classes)}
    by_split: dict[str, list[tuple[str, Any]]] = {}
    for row in images:
        labels = [index[name] for name in row.labels]
        target: Any = np.zeros(len(index), np.uint8) if settings.multilabel else labels[0]
        if settings.multilabel:
            target[labels] = 1
        by_split.setdefault(row.split, []).append((row.path, target))
    if "train" not in by_split:
        raise UsageError(
            f"{folder}: the split column has {', '.join(by_split)}, but no row for train.\n"
            "Assign images to train, or remove the column: the images are then split at random."
        )
    return classes, by_split


def _with_splits(rows: list[Row], columns: Columns, reading: Reading) -> list[Row]:
    """Read the split of each row, and leave out the rows of test if none of them has a label."""
    if columns.split is not None:
        for row in rows:
            row.split = _named_split(row, columns.split)
    tested = [row for row in rows if row.split == "test"]
    if not tested or any(row.cells[name] for row in tested for name in columns.labels):
        return rows
    reading.note(
        f"{tested[0].file} has no labels for test: {number_of(len(tested), 'rows')} are left out."
    )
    return [row for row in rows if row.split != "test"]


def _named_split(row: Row, column: str) -> str:
    cell = row.cells[column]
    if column.lower() == "is_valid" and cell.lower() in BINARY:
        return "val" if BINARY[cell.lower()] else "train"
    split = split_of(cell)
    if split is None:
        remedy = "Write train, val or test, or rename the column."
        raise row.error(f"{column} is {cell!r}, which is not a split", remedy)
    return split


def _read_labels(
    rows: Sequence[Row], columns: Columns, settings: CsvSettings, reading: Reading
) -> None:
    """Read the labels of each row."""
    if columns.binary:
        empty = 0
        for row in rows:
            row.labels = [name for name in columns.labels if row.is_label(name)]
            empty += sum(not row.cells[name] for name in columns.labels)
        if empty:
            reading.note(
                f"{rows[0].file}: empty cells in columns of labels are read as 0: {empty}."
            )
        return
    column, separator = columns.labels[0], settings.label_separator
    cells = [row.cells[column] for row in rows]
    for row, cell in zip(rows, cells, strict=True):
        if not cell and not settings.multilabel:
            remedy = "Write the label. If images may have none: data.multilabel=true"
            raise row.error(f"the column {column} is empty", remedy)
        if separator != "" and LIST.fullmatch(cell) and (settings.multilabel or {*cell} & {*"\"'"}):
            remedy = "Write cat, or cat;dog for several labels. If it is a name: "
            reason = f"{cell} is in brackets, as a list of Python or JSON"
            raise row.error(reason, f"{remedy}data.label_separator=")
    if settings.multilabel and separator is None:
        separator = next((sign for sign in SEPARATORS if any(sign in c for c in cells)), None)
    for row, cell in zip(rows, cells, strict=True):
        names = cell.split(separator) if separator else [cell]
        row.labels = sorted({name.strip() for name in names} - {""})
    if settings.label_separator is None:
        _refuse_several_labels(rows, separator)


def _refuse_several_labels(rows: Sequence[Row], found: str | None) -> None:
    """Raise an error if labels are probably lists of labels, also beside a separator ``found``.

    Names of classes hardly contain ``;`` or ``|``. With a comma, a cell is a list only if one of
    its parts occurs in another cell, or is one beside a separator. Names may share words, too: with
    a space or ``/``, a cell is taken for a list only if each part is a cell of its own as well, or
    if a few words make up many cells of different lengths.
    """
    labels = [(row, name) for row in rows for name in row.labels]
    whole = {name for _, name in labels}
    for sign in SEPARATORS + ("" if found else UNLIKELY_SEPARATORS):
        parts = {cell: {part.strip() for part in cell.split(sign)} for cell in whole}
        counts = Counter(part for names in parts.values() for part in names)
        several = [names for names in parts.values() if len(names) > 1]
        few_words = len(several) > len(set().union(*several)) and len({*map(len, several)}) > 1
        for row, cell in labels:
            if sign in UNLIKELY_SEPARATORS:
                are_labels = few_words or parts[cell] <= whole
                separator = f" 'data.label_separator=\"{sign}\"'"
            else:
                repeated = any(name in whole if found else counts[name] > 1 for name in parts[cell])
                are_labels, separator = sign != "," or repeated, ""
            if sign in cell and are_labels:
                remedy = f"If so: data.multilabel=true{separator}. If it is a name: "
                remedy += "data.label_separator="
                if found:
                    remedy = f"If so, separate all labels by {found} only. If it is a name: "
                    remedy += f"'data.label_separator=\"{found}\"'"
                raise row.error(f"{cell!r} may be several labels", remedy)


def _find_paths(rows: Sequence[Row], column: str, reading: Reading) -> None:
    """Find the image of each row, relative to the folder of the CSV file.

    A name without folder or suffix stands for the only image of this name at any depth.
    """
    for row in rows:
        if not row.cells[column]:
            raise row.error(f"the column {column} is empty", "Write the path, or remove the row.")
    file, names = rows[0].file, [row.cells[column] for row in rows]
    folder = folder_of(file)
    located, dropped = find_images(names, [file.parent, folder])
    if dropped:
        reading.note(f"{file} names {names[0]}, which is read as {located[0]}.")
    by_name: dict[str, str | None] | None = None
    for row, written, path in zip(rows, names, located, strict=True):
        row.path = str(path)
        if not os.path.isfile(path):  # noqa: PTH113 - faster than a Path
            by_name = _by_name(folder) if by_name is None else by_name
            name = unicodedata.normalize("NFC", UPLOADED.sub("", written))
            found = by_name.get(name, str(existing_form(path)))
            if found is None:
                reason = f"several images below {folder} are called {written}"
                raise row.error(reason, "Write the path relative to the CSV file.")
            row.path = found
    if by_name is not None:
        pairs = [(name, row.path) for name, row in zip(names, rows, strict=True)]
        note_lost_zeros(file, pairs, reading)


def _by_name(folder: Path) -> dict[str, str | None]:
    """Map the names of images, with and without suffix, to their paths; None if not unique."""
    by_name: dict[str, str | None] = {}
    for path in list_images(folder).images:
        relative = Path(path).relative_to(folder)
        names = {relative.name, relative.stem, relative.with_suffix("").as_posix()}
        for name in (unicodedata.normalize("NFC", name) for name in names):
            by_name[name] = None if name in by_name else path
    return with_lost_zeros(by_name)


def _images(
    rows: Sequence[Row], settings: CsvSettings, reading: Reading, *, join: bool
) -> list[Row]:
    """Return the first row of each image, and refuse other rows that differ from it.

    With ``join``, their labels are added to those of the first row.
    """
    first: dict[str, Row] = {}
    joined: set[str] = set()
    for row in rows:
        exists = os.path.isfile(row.path)  # noqa: PTH113 - faster than a Path
        if not exists and not settings.skip_unreadable:
            remedy = "Correct the path, or leave out such images: data.skip_unreadable=true"
            raise row.error(f"there is no file {row.path}", remedy)
        if not exists:
            reading.leave_out("images", MISSING, row.path, split=row.split)
            continue
        if Path(row.path).suffix.lower() not in SUFFIXES:
            reason = f"{row.path} is not an image of a format that is read"
            raise row.error(reason, how_to_read(row.path))
        before = first.setdefault(row.path, row)
        if before.split != row.split or (before.labels != row.labels and not join):
            difference = "labels" if before.labels != row.labels else "split"
            remedy = "Keep a single row. For several labels: data.multilabel=true"
            place = f"{before.file.name}, line {before.line}"
            raise row.error(f"{row.path} has other {difference} in {place}", remedy)
        if new := {*row.labels} - {*before.labels}:
            before.labels = sorted(new.union(before.labels))
            joined.add(row.path)
        elif before is not row:
            reading.leave_out("rows", "repeated", row.file)
    if joined:
        reading.note(
            f"{rows[0].file}: the labels of several rows of an image are joined, as in "
            f"{min(joined)}. Number of such images: {len(joined)}."
        )
    for file, table in groupby([] if settings.outside_root else first.values(), attrgetter("file")):
        check_inside(folder_of(file), [row.path for row in table], source=file)
    return list(first.values())


def _sorted_classes(labels: Sequence[Sequence[str]]) -> list[str]:
    """Return the different labels in the order of their names, or of their values if numbers."""
    names = {name for row in labels for name in row}
    numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))
