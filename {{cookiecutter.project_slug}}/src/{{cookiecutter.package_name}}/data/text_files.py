"""Read text files of any common encoding: annotations, class names and lists of images."""

# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
import codecs
from pathlib import Path
from typing import Any

from pydantic_core import from_json

# ~ else
import codecs
from pathlib import Path

# ~ endif
from ..errors import UsageError

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # byte order marks at the start of a file


# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; a UsageError is raised if it is not valid JSON."""
    try:
        # This takes half the time of Python's json, and is in pydantic anyway.
        return from_json(read_text(path), cache_strings="keys")
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON: {error}.") from error


# ~ endif
# ~ if cookiecutter.scope == "complete"
def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a text file without surrounding spaces.

    Empty lines and comments, which start with ``#`` and a space, are left out.
    """
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("# ")]


# ~ endif
def read_text(path: str | Path) -> str:
    """Return the text of a file in UTF-8, with or without byte order mark, or UTF-16 with one.

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
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
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
