"""Read the names of the classes, and their colours in masks, from ``classes.txt``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.text_files import read_text
from ..errors import UsageError

IGNORE_INDEX = 255  # the id of pixels that the loss and the metrics ignore
COLOR = 1 << 24  # is added to colours (0xRRGGBB), so that they differ from grey values
IGNORED_COLOR = 1 << 25  # stands for the colour of a palette at IGNORE_INDEX
BLACK, WHITE = COLOR, COLOR | 0xFFFFFF
AMBIGUOUS = -1  # stands for the id of a colour that several classes have
HEADER = re.compile(r"\w+[ ,;]+r(ed)?[ ,;]+g(reen)?[ ,;]+b(lue)?", re.IGNORECASE)
NAME_WORDS = {"class", "class_name", "classes", "label", "label_name", "labels", "name", "names"}
OTHERS = {"b", "blue", "color", "colour", "g", "green", "hex", "id", "index", "r", "red", "rgb"}
# Signs of another format: quotes, a dash before, a comma or a number after, or brackets.
NO_NAME = re.compile(r"[\"'].*[\"']|- .*|.*[,;:]|.*[,;]\d+|[\[{].*")
NUMBER = re.compile(r"\d+(?=[ ,;:.)]+\D)", re.ASCII)  # in front of a name
# A name and its colour: road 128 64 128, road: (128, 64, 128) or road #804080.
COLORED = re.compile(
    r"(.+?)[ ,;:]+(?:#([0-9a-f]{6})|[(\[]?(\d+)[ ,;]+(\d+)[ ,;]+(\d+)[)\]]?)[ ,;]*",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Classes:
    """The names of the classes by id, and their colours in RGB masks."""

    names: list[str]
    colors: dict[int, int]  # 0xRRGGBB -> id, or AMBIGUOUS
    greys: dict[int, int] | None = None  # grey value -> id; without it, the values are the ids

    @property
    def ids(self) -> dict[int, int]:
        """The id, or ``AMBIGUOUS``, of each value of a mask, as ``mask_values`` returns them."""
        greys = self.greys or {index: index for index in range(len(self.names))}
        colors = {COLOR | color: index for color, index in self.colors.items()}
        return {IGNORE_INDEX: IGNORE_INDEX, IGNORED_COLOR: IGNORE_INDEX, **greys, **colors}


def read_classes(path: Path) -> Classes:
    """Read ``classes.txt``: each line is the name of a class, followed by its colour for RGB masks.

    Lines that start with ``#`` and a space are comments.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} is missing.\nWrite a class name in each line, in the order of the ids; for "
            "RGB masks, its colour: road 128 64 128"
        )
    names: list[str] = []
    colors: dict[int, int] = {}
    for words in map(str.split, read_text(path).splitlines()):
        if not words or words[0] == "#":
            continue
        name = " ".join(words)
        if not names and HEADER.fullmatch(name):
            continue
        if match := COLORED.fullmatch(name):
            name, code, *parts = match.groups()
            red, green, blue = [*bytes.fromhex(code)] if code else [*map(int, parts)]
            if max(red, green, blue) > 255:
                raise UsageError(f"{path}: the numbers of {' '.join(words)!r} must end at 255.")
            color = red << 16 | green << 8 | blue
            colors[color] = AMBIGUOUS if color in colors else len(names)
        names.append(name)
    _check_names(names, path)
    if not 2 <= len(names) <= IGNORE_INDEX:
        raise UsageError(
            f"{path} must name 2 to {IGNORE_INDEX} classes, each on a line of its own, but names "
            f"{len(names)}: {', '.join(names[:2])}"
        )
    if len({*names}) < len(names):
        raise UsageError(f"{path} names a class twice: {', '.join(names)}.")
    # Numbers in front of the names, from 0 or 1, must be those of the ids.
    matches = enumerate(map(NUMBER.match, names))
    numbers = {index: int(match[0]) for index, match in matches if match}
    count, found = len(numbers), sorted(numbers.values())
    wrong = next((index for index, number in numbers.items() if number != index), None)
    in_order = found in ([*range(count)], [*range(1, count + 1)])
    if wrong is not None and in_order and count >= max(2, len(names) - 1):
        raise UsageError(
            f"{path}: the class {names[wrong]!r} begins with {numbers[wrong]}, but its id is "
            f"{wrong}, as its line says.\nWrite only the names, that of id 0 on the first line. If "
            "the numbers belong to the names, write them with a hyphen, as in 2-storey."
        )
    return Classes(names, colors)


def _check_names(names: Sequence[str], path: Path) -> None:
    """Refuse a header, and names that have signs of another format."""
    words = {*re.split("[ ,;:]+", "".join(names[:1]).lower())} - {""}
    if words & NAME_WORDS and words <= NAME_WORDS | OTHERS:
        raise UsageError(
            f"{path}: its first line, {names[0]!r}, looks like a header.\n"
            "Remove it: each line names a class, that of id 0 first."
        )
    if wrong := next(filter(NO_NAME.fullmatch, names), ""):
        raise UsageError(
            f"{path}: {wrong!r} is no plain name.\n"
            "Write a name in each line and, for RGB masks, its colour: road 128 64 128"
        )
