"""Read the image and the labels of each row of CSV files."""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.files import SUFFIXES, folder_of, list_images, split_of
from ..data.image_paths import check_inside, existing_form, find_images
from ..data.reading_summary import MISSING, Reading
from ..errors import UsageError
from ..settings.classification import CsvSettings
from .csv_table import BINARY, Columns, Row, binary_labels, find_columns, find_files, read_rows

SEPARATORS = ";|,"
UNLIKELY_SEPARATORS = " /"  # names of classes may contain them, too


def read_csv(
    settings: CsvSettings, reading: Reading
) -> tuple[list[str], dict[str, list[tuple[str, Any]]]]:
    """Read the images and labels of ``data.root``, a CSV file or the folder that holds it.

    Returns:
        The class names, and for each split the path and the target of each image: the index of its
        class or, with ``multilabel``, a uint8 array [classes] of 0 and 1. Without splits, all
        images are those of train.

    Raises:
        UsageError: if a file, a column or a row is wrong; it names the line.
    """
    files = find_files(settings.root)
    tables = {split: read_rows(file) for split, file in files.items()}
    folder = files["train"].parent
    columns = find_columns(tables["train"], settings, reading)
    if "test" in tables and not {*columns.labels} & tables["test"][0].cells.keys():
        reading.note(f"{files['test']} has no labels, so it is not used for the test.")
        del tables["test"]
    if any(find_columns(table, settings, reading) != columns for table in tables.values()):
        raise UsageError(f"The CSV files in {folder} have different columns of labels or paths.")
    rows, splits = _labelled(tables, columns, reading)
    if not rows:
        raise UsageError(
            f"{folder}: all rows are for test and have no label, so there is nothing to learn.\n"
            "Name the file with the labels: data.root=<file>.csv"
        )
    labels = _labels(rows, columns, settings)
    images = _images(rows, labels, splits, columns, settings, reading)
    classes = columns.labels if columns.binary else _sorted_classes(labels)
    if len(classes) < (1 if settings.multilabel else 2):
        raise UsageError(f"{folder}: there must be two classes, but there is only {classes}.")
    for name in classes:
        if name.lower() in {"#n/a", "n/a", "na", "nan", "null"}:
            reading.note(
                f"{folder}: {name} is read as the name of a class. Some programs write it for a "
                "missing label: if it is one, remove these rows."
            )
    index = {name: position for position, name in enumerate(classes)}
    by_split: dict[str, list[tuple[str, Any]]] = {}
    for path, (names, split, _) in images.items():
        target: Any = index[names[0]] if not settings.multilabel else np.zeros(len(index), np.uint8)
        if settings.multilabel:
            target[[index[name] for name in names]] = 1
        by_split.setdefault(split, []).append((path, target))
    if "train" not in by_split:
        raise UsageError(
            f"{folder}: the split column has {', '.join(by_split)}, but no row for train.\n"
            "Assign images to train, or remove the column, and the images are split at random."
        )
    return classes, by_split


def _labelled(
    tables: Mapping[str, Sequence[Row]], columns: Columns, reading: Reading
) -> tuple[list[Row], list[str]]:
    """Return the rows and the split of each, without those of test if none of them has a label."""
    rows = [row for table in tables.values() for row in table]
    splits = [split for split, table in tables.items() for _ in table]
    if columns.split is not None:
        splits = [_named_split(row, columns.split) for row in rows]
    tested = [row for row, split in zip(rows, splits, strict=True) if split == "test"]
    if tested and not any(row.cells[name] for row in tested for name in columns.labels):
        reading.note(
            f"{tested[0].file} has no labels for test, so these rows are not used: {len(tested)}."
        )
        rows = [row for row, split in zip(rows, splits, strict=True) if split != "test"]
        splits = [split for split in splits if split != "test"]
    return rows, splits


def _labels(rows: Sequence[Row], columns: Columns, settings: CsvSettings) -> list[list[str]]:
    """Return the labels of each row."""
    if columns.binary:
        return [list(binary_labels(row, columns.labels)) for row in rows]
    cells = [row.cells[columns.labels[0]] for row in rows]
    if settings.multilabel:
        separator = settings.label_separator
        if separator is None:
            for row, cell in zip(rows, cells, strict=True):
                if cell.startswith("[") and cell.endswith("]"):
                    raise row.error(f"{cell} is a list of Python", "Write the labels as cat;dog.")
            separator = next((sign for sign in SEPARATORS if any(sign in c for c in cells)), None)
            if separator is None:
                _refuse_several_labels(rows, cells)
        split = [cell.split(separator) if separator else [cell] for cell in cells]
        return [[name.strip() for name in names if name.strip()] for names in split]
    for row, cell in zip(rows, cells, strict=True):
        if not cell:
            raise row.error(
                f"the column {columns.labels[0]} is empty",
                "Write the label, or remove the row. If images may have no label: "
                "data.multilabel=true",
            )
    if settings.label_separator is None:
        _refuse_several_labels(rows, cells)
    return [[cell] for cell in cells]


def _refuse_several_labels(rows: Sequence[Row], cells: Sequence[str]) -> None:
    """Raise an error if the labels are probably lists.

    These have parts in common. Since the names of classes may share a word, those at a space or
    ``/`` must all be labels by themselves, or few words must make up many lists of several lengths.
    """
    whole = set(cells)
    for sign in SEPARATORS + UNLIKELY_SEPARATORS:
        parts = {cell: {part.strip() for part in cell.split(sign)} for cell in whole}
        counts = Counter(part for names in parts.values() for part in names)
        several = [names for names in parts.values() if len(names) > 1]
        few_words = len(several) > len(set().union(*several)) and len({*map(len, several)}) > 1
        for row, cell in zip(rows, cells, strict=True):
            if sign in UNLIKELY_SEPARATORS:
                are_labels = few_words or parts[cell] <= whole
                separator = f" 'data.label_separator=\"{sign}\"'"
            else:
                are_labels, separator = any(counts[name] > 1 for name in parts[cell]), ""
            if sign in cell and are_labels:
                raise row.error(
                    f"{cell!r} may be several labels",
                    f"If it is: data.multilabel=true{separator}. If it is a single name: "
                    "data.label_separator=",
                )


def _images(
    rows: Sequence[Row],
    labels: Sequence[list[str]],
    splits: Sequence[str],
    columns: Columns,
    settings: CsvSettings,
    reading: Reading,
) -> dict[str, tuple[list[str], str, Row]]:
    """Return the labels, the split and the row of each image, by its path."""
    images: dict[str, tuple[list[str], str, Row]] = {}
    paths = _paths(rows, columns.path, settings, reading)
    for row, path, names, split in zip(rows, paths, labels, splits, strict=True):
        if settings.skip_unreadable and not os.path.isfile(path):  # noqa: PTH113 - faster
            reading.leave_out("images", MISSING, path, split=split)
            continue
        image = (sorted(set(names)), split, row)
        before = images.setdefault(path, image)
        if before[:2] != image[:2]:
            difference = "labels" if before[0] != image[0] else "split"
            raise row.error(
                f"{row.cells[columns.path]} has other {difference} in line {before[2].line}",
                "Keep one of the rows. Several labels of an image belong into one row, such as "
                "cat;dog, with data.multilabel=true",
            )
        if before is not image:
            reading.leave_out("rows", "repeated", row.file)
    return images


def _named_split(row: Row, column: str) -> str:
    cell = row.cells[column]
    if column.lower() == "is_valid" and cell.lower() in BINARY:
        return "val" if BINARY[cell.lower()] else "train"
    split = split_of(cell)
    if split is None:
        raise row.error(
            f"{column} is {cell!r}, which is not a split",
            "Write train, val or test, or rename the column.",
        )
    return split


def _paths(rows: Sequence[Row], column: str, settings: CsvSettings, reading: Reading) -> list[str]:
    """Return the path of the image of each row, relative to the folder of the CSV file.

    A name without folder or suffix stands for the only image of this name at any depth.
    """
    for row in rows:
        if not row.cells[column]:
            raise row.error(f"the column {column} is empty", "Write the path, or remove the row.")
    folder = folder_of(rows[0].file)
    names = [row.cells[column] for row in rows]
    located, dropped = find_images(names, [rows[0].file.parent, folder])
    if dropped:
        reading.note(f"{rows[0].file} names {names[0]}, which is read as {located[0]}.")
    by_name: dict[str, str | None] | None = None
    paths = []
    for row, path in zip(rows, located, strict=True):
        name = str(path)
        if not os.path.isfile(name):  # noqa: PTH113 - faster than a Path
            by_name = _by_name(folder) if by_name is None else by_name
            written = unicodedata.normalize("NFC", row.cells[column])
            name = by_name.get(written, str(existing_form(path))) or ""
        if not name:
            raise row.error(
                f"several images below {folder} are called {row.cells[column]}",
                "Write the path of the image relative to the CSV file.",
            )
        _check_path(row, name, folder, settings)
        paths.append(name)
    return paths


def _by_name(folder: Path) -> dict[str, str | None]:
    """Map the names of images, with and without suffix, to their paths; None if not unique."""
    by_name: dict[str, str | None] = {}
    for path in list_images(folder).images:
        relative = Path(path).relative_to(folder)
        names = {relative.name, relative.stem, relative.with_suffix("").as_posix()}
        for name in (unicodedata.normalize("NFC", name) for name in names):
            by_name[name] = None if name in by_name else path
    return by_name


def _check_path(row: Row, path: str, folder: Path, settings: CsvSettings) -> None:
    if not settings.outside_root:
        check_inside(folder, [Path(path)], source=row.file)
    exists = os.path.isfile(path)  # noqa: PTH113 - faster than a Path
    if not exists and not settings.skip_unreadable:
        raise row.error(
            f"there is no file {path}",
            "Paths are relative to the CSV file. Correct the path, or leave out such images: "
            "data.skip_unreadable=true",
        )
    if exists and Path(path).suffix.lower() not in SUFFIXES:
        raise row.error(
            f"{path} is not an image of a format that is read: {' '.join(sorted(SUFFIXES))}",
            "Convert the image, or remove the row.",
        )


def _sorted_classes(labels: Sequence[Sequence[str]]) -> list[str]:
    """Return the different labels in the order of their names, or of their values if numbers."""
    names = {name for row in labels for name in row}
    numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=lambda name: (int(name) if numbers else 0, name))
