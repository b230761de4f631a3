"""Read text files of any common encoding: annotations, class names and lists of images."""

# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
import codecs
import reprlib
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

# ~ else
import codecs
from pathlib import Path

# ~ endif
from ..errors import UsageError

# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
ContentT = TypeVar("ContentT")
# ~ endif
MARKS = {  # byte order marks at the start of a file; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
def read_json(path: str | Path, content: TypeAdapter[ContentT]) -> ContentT:
    """Return the content of a JSON file as the type of ``content``; refuse any other content."""
    try:
        return content.validate_json(read_text(path))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        if fault["type"] == "json_invalid":
            raise UsageError(
                f"{path} is not valid JSON: {fault['ctx']['error']}.\n"
                "Save or download it again, or move the file away if it is not part of the data."
            ) from error
        members = {"int", "str", "bool", "float"}  # of unions
        loc = (part for part in fault["loc"] if part not in members)
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
        place = "".join(parts).lstrip(".") or "the content"
        shown = reprlib.Repr()
        shown.maxlevel = 1  # lists and objects in it become dots
        raise UsageError(
            f"{path}: {place}: {fault['msg']}, found {shown.repr(fault['input'])}.\nCorrect it "
            "(entries are counted from 0), or move the file away if it is of another format."
        ) from error


# ~ endif
# ~ if cookiecutter.task == "segmentation" or cookiecutter.scope == "complete"
def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file without surrounding spaces.

    Empty lines and comments, which start with ``#`` and a space, are left out.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("# ")]


# ~ endif
def read_text(path: str | Path) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        FileNotFoundError: if there is no such file.
        UsageError: if the file cannot be read, or its text has another encoding.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - faster than a Path
            content = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        marked = (MARKS[mark] for mark in MARKS if content.startswith(mark))
        text = content.decode(next(marked, "utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        text, reason = "", f"line {line} has the byte 0x{error.object[error.start]:02x}"
    else:  # a zero: UTF-16 without a mark, or not a text file
        reason = "it has bytes of value zero" if "\0" in text else ""
    if reason:
        raise UsageError(
            f"{path} is not UTF-8 text: {reason}.\nOpen it in a text editor, and save it as UTF-8."
        )
    return text.replace("\n\ufeff", "\n")  # marks of joined files
