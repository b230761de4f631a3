"""Read the rows of CSV files, and find the columns of paths, labels and splits."""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.files import folder_of, is_hidden, split_folders, split_of
from ..data.reading_summary import Reading, number_of
from ..data.text_files import read_text
from ..errors import UsageError
from ..settings.classification import CsvSettings

PATH_COLUMNS = (
    "path", "filepath", "file_path", "image", "image_path", "image_id", "img", "filename",
    "file_name", "file",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "class_name", "category", "categories", "tags", "target",
    "choice",  # of Label Studio
)  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "set", "partition", "is_valid")  # the last one of fastai
# The table in the folder of each split, as Roboflow and Hugging Face name it.
IN_SPLIT = ("_classes.csv", "metadata.csv")
MAX_NAMES = 12  # of columns in a message
SPLIT_WORD = re.compile(r"(fold|partition|phase|split|subset|usage)s?_?\d*$|is_(train|test|val)")
# 1 and 0 in the column of a label; an empty cell stands for 0.
BINARY = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
LIKELY = {*BINARY, "", "-1"}  # cells of such a column, of which the last is refused


@dataclass
class Row:
    """A row of a CSV file; ``csv_labels`` fills in the path, the labels and the split."""

    file: Path
    line: int
    cells: dict[str, str]  # by column, without surrounding spaces
    split: str  # that of the file
    path: str = ""  # of the image
    labels: list[str] = field(default_factory=list)

    def error(self, reason: str, remedy: str) -> UsageError:
        """Return an error that names the file and the line of this row."""
        return UsageError(f"{self.file}, line {self.line}: {reason}.\n{remedy}")

    def is_label(self, column: str) -> bool:
        """Return whether it has 1 in a column; anything else than 0, 1 or nothing is refused."""
        value = self.cells[column].lower() or "0"
        if value not in BINARY:
            remedy = "Correct it, or leave the column out: data.label_column=[<columns>]"
            raise self.error(f"{column} is {self.cells[column]!r}, but must be 0 or 1", remedy)
        return BINARY[value]


@dataclass(frozen=True)
class Columns:
    """The names of the columns in use."""

    path: str
    labels: list[str]
    binary: bool  # whether each label has a column of its own, of 0 and 1
    split: str | None


def find_files(root: Path, reading: Reading) -> dict[str, Path]:
    """Return the CSV file as that of train, or a file for each split, such as ``val.csv``.

    ``root`` is the file, or the folder that holds it. Files beside those of train and of another
    split are left out; if there is none of another split, their names must not contain one.
    """
    if root.is_file() and root.suffix.lower() in {".json", ".jsonl", ".mat", ".parquet", ".xlsx"}:
        raise UsageError(f"data.root={root} is not a CSV file.\nSave this table as CSV.")
    if root.is_file():
        return {"train": root}
    if not root.exists():
        raise UsageError(f"data.root={root}: there is no such file or folder.")
    tables = (path for path in root.glob("*") if path.suffix.lower() in {".csv", ".tsv"})
    files = sorted(path for path in tables if not is_hidden(path.name) and path.name[:2] != "~$")
    if len(files) == 1:
        return {"train": files[0]}
    folders = () if files else split_folders(root).items()
    below = {split: path for split, folder in folders if (path := _table_in(folder))}
    if "train" in below:
        return below
    named = {path: split for path in files if (split := split_of(path.stem))}
    splits = {split: path for path, split in named.items()}
    words = re.findall("[a-z]+", " ".join(path.stem.lower() for path in files))
    lost = len(splits) < 2 and len([*filter(split_of, words)]) > 1  # a split beside train
    if "train" not in splits or lost or len(splits) < len(named):
        names = ", ".join(path.name for path in files) or "none"
        raise UsageError(
            f"data.root={root} must be a CSV file, or hold one; CSV files there: {names}.\n"
            "Name the file to read: data.root=<file>.csv; its first line may be path,label"
        )
    for path in files:
        if path not in named:
            reading.leave_out("tables", "not named after a split", path)
    return splits


def _table_in(folder: Path) -> Path | None:
    """Return the table in the folder of a split, if it has one of the usual name."""
    present = [folder / name for name in IN_SPLIT if (folder / name).is_file()]
    if len(present) > 1:
        raise UsageError(f"{present[0]} and {present[1]} both list the images.\nKeep one.")
    return present[0] if present else None


def image_folder(root: Path, splits: Mapping[str, Sequence[tuple[str, Any]]]) -> Path:
    """Return ``root``, or the innermost folder of the images beside it if it is a file."""
    if root.is_dir():
        return root
    whole = os.path.abspath(folder_of(root))  # noqa: PTH100 - strings are faster
    folders = {os.path.dirname(path) for files in splits.values() for path, _ in files}  # noqa: PTH120
    inside = [path for path in map(os.path.abspath, folders) if f"{path}/".startswith(f"{whole}/")]
    return folder_of(root) / os.path.relpath(os.path.commonpath(inside or [whole]), whole)


def read_rows(file: Path, split: str) -> list[Row]:
    """Return the rows of a file below its header, without empty lines.

    The columns are separated by ``,``, ``;``, tab or ``|``, whichever is the most frequent in the
    first line. A first line such as ``sep=;``, which Excel reads, is no header.
    """
    text = read_text(file).replace("\r\n", "\n").replace("\r", "\n")  # of old Macs
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True, skipinitialspace=True)
    names: list[str] = []
    rows = []
    try:
        for values in reader:
            cells = [value.strip() for value in values]
            if not any(cells) or (not names and cells[0].lower() == "sep="):
                continue
            if not names:
                names = cells
                continue
            named = {name: cell for name, cell in zip(names, cells, strict=False) if name}
            row = Row(file, reader.line_num, named, split)
            if any(names[len(cells) :]) or any(cells[len(names) :]):
                count = number_of(len(cells), "cells")
                reason = f"it has {count}, but the header has {len(names)}"
                remedy = "Put cells that hold the separator in quotes."
                if len(names) == 1:
                    remedy = f"Remove the lines above the header, such as {names[0]!r}."
                raise row.error(reason, remedy)
            rows.append(row)
    except csv.Error as error:
        raise UsageError(f"{file}, line {reader.line_num}: {error}.\nRepair the line.") from error
    repeated = [name for name in names if name and names.count(name) > 1]
    if not rows or repeated:
        reason = "two columns of the same name" if rows else "no rows below its header"
        remedy = "Rename one of them." if rows else "Write a row for each image."
        raise UsageError(f"{file} has {reason}: {', '.join(repeated or names)}.\n{remedy}")
    return rows


def find_columns(rows: Sequence[Row], settings: CsvSettings, reading: Reading) -> Columns:
    """Return the columns that the settings name, or those with a usual name."""
    file, names = rows[0].file, list(rows[0].cells)
    path = settings.path_column or _usual(names, PATH_COLUMNS, "path", file)
    labels = settings.label_column or _usual(names, LABEL_COLUMNS, "label", file)
    of_via = labels is None and "region_attributes" in names
    used = {path, *([labels] if isinstance(labels, str) else labels or [])}
    split = _split_column(rows, [name for name in names if name not in used], reading)
    others = [name for name in names if name not in {path, split}]
    cells = {name: [row.cells[name].lower() for row in rows] for name in others}
    counts = {name: sum(map(BINARY.__contains__, cells[name])) for name in others}
    # Most cells are 0, 1 or empty; a mistake in another cell is reported.
    binary = [
        name
        for name, count in counts.items()
        if count and 2 * sum(map(LIKELY.__contains__, cells[name])) > len(rows)
    ]
    if labels is None and settings.multilabel:
        labels = binary
        unused = ", ".join(name for name in others if name not in binary) or "none"
        reading.note(f"{file}: the labels are {', '.join(binary)}; not used: {unused}.")
    elif settings.multilabel and isinstance(labels, str) and counts.get(labels) == len(rows):
        reading.note(
            f"{file}: 1 in the column {labels} is read as the label {labels}. If 0 and 1 are names "
            "of classes: data.multilabel=false"
        )
        labels = [labels]
    if not path or not labels or of_via:
        kind = "label" if path else "path"
        hint = (
            f"Name it: data.{kind}_column=<column>\n"
            "If its first line is not a header, write one above it: path,label"
        )
        if len(names) == 1:
            hint = "Separate the columns by a comma, a semicolon, | or a tab."
        elif of_via:
            hint = "VIA writes labels into region_attributes: write them into a column label."
        elif path and len(binary) > 1:
            hint = f"If each of {', '.join(binary)} is a label: data.multilabel=true; otherwise, "
            hint += "name the column of labels: data.label_column=<column>"
        more = len(names) - MAX_NAMES
        shown = ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        raise UsageError(
            f"{file} has no column with a usual name for the {kind}, but {shown}.\n{hint}"
        )
    chosen = labels if isinstance(labels, list) else [labels]
    if missing := [name for name in (path, *chosen) if name not in names]:
        raise UsageError(
            f"{file} has no column {missing[0]!r}, but {', '.join(names)}.\n"
            "Correct data.path_column or data.label_column."
        )
    return Columns(path, chosen, isinstance(labels, list), split)


def has_columns(
    rows: Sequence[Row], columns: Columns, settings: CsvSettings, reading: Reading
) -> bool:
    """Return whether a table has the columns of train."""
    if not columns.binary:
        return find_columns(rows, settings, reading) == columns
    # The column of a label that no row of this table has could not be found again.
    return {columns.path, *columns.labels} <= rows[0].cells.keys()


def _split_column(rows: Sequence[Row], names: Sequence[str], reading: Reading) -> str | None:
    """Return the column of the splits: the one with a usual name, or else with usual values.

    Another column that may split the images is noted: ``fold``, or one of train and holdout.
    """
    file = rows[0].file
    split = _usual(names, SPLIT_COLUMNS, "split", file)
    if split is not None:
        return split
    words = {name: {*map(split_of, {row.cells[name] for row in rows})} for name in names}
    found = [name for name in names if {"train"} < words[name] and None not in words[name]]
    if found:
        return _usual(found, [*map(str.lower, found)], "split", file)
    for name in names:
        values = {row.cells[name] for row in rows}
        told = SPLIT_WORD.search(name.lower()) or ("train" in words[name] and len(values) <= 3)
        if told and None in words[name]:
            unknown = next(row.cells[name] for row in rows if split_of(row.cells[name]) is None)
            reading.note(
                f"{file}: the column {name} is not used, since its values, such as {unknown!r}, "
                "are not train, val or test. To split the images by it, write these words into it."
            )
    return None


def _usual(names: Sequence[str], usual: Sequence[str], kind: str, file: Path) -> str | None:
    """Return the only column whose name is among the ``usual`` ones, or None."""
    found = [name for name in names if name.lower() in usual]
    if len(found) > 1:
        remedy = (
            f"Use one: data.{kind}_column={found[0]}" if kind != "split" else "Rename the others."
        )
        raise UsageError(
            f"{file} has several columns that may be the {kind}: {', '.join(found)}.\n{remedy}"
        )
    return found[0] if found else None
