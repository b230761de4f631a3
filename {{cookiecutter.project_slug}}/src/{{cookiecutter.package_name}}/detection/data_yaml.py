"""Read ``data.yaml`` of YOLO data, or a list of the class names."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from ..data.files import SUFFIXES, folders_in, is_hidden
from ..data.text_files import read_lines, read_text
from ..errors import UsageError

EXAMPLE = """data.yaml must contain the names of the classes; without splits, the images are split:
  train: images/train
  val: images/val
  names: [cat, dog]
Without data.yaml, classes.txt must have the name of a class on each line."""
NUMBER = re.compile(r"\d+(?=[ ,;:.)]+\D)", re.ASCII)  # in front of a name


class _TextLoader(yaml.BaseLoader):
    """Reads all values as text, so that a class may be named "no" or "1.0"."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as in PyYAML
    ) -> dict[Hashable, Any]:
        """Return a mapping; a repeated key, of which PyYAML takes the last value, is an error."""
        for key, count in Counter(str(key.value) for key, _ in node.value).items():
            if count > 1:
                raise yaml.YAMLError(f"{key} occurs {count} times in the same mapping")
        return super().construct_mapping(node, deep)


def read_description(file: Path) -> dict[str, Any]:
    """Return the content of ``data.yaml`` with all values as text, or the names of another file."""
    suffix = file.suffix.lower()
    if suffix not in {".yaml", ".yml"}:
        names = read_lines(file) if suffix in {".txt", ".names"} else []
        if not names or Path(names[0]).suffix.lower() in SUFFIXES:
            raise UsageError(f"{file} is not a list of class names.\n{EXAMPLE}")
        return {"names": names}
    try:
        content = yaml.load(read_text(file), Loader=_TextLoader)  # noqa: S506
    except FileNotFoundError as error:
        folders_in(file.parent)  # refuses a folder that does not exist
        others = [path for path in sorted(file.parent.rglob("*.y*ml")) if not is_hidden(path.name)]
        other = "".join(f"To read {path}: data.root={path}\n" for path in others[:1])
        raise UsageError(f"{file} is missing.\n{other}{EXAMPLE}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error
    return content if isinstance(content, dict) else {}


def texts(value: object) -> list[str]:
    """Return a value of ``data.yaml``, or those of a list, as texts without nulls."""
    values = map(str, value if isinstance(value, list) else [value])
    return [text for text in values if text not in {"", "None", "null", "Null", "NULL", "~"}]


def class_names(file: Path, content: dict[str, Any]) -> list[str]:
    """Return the names of the classes in the order of their ids."""
    names = content.get("names")
    if isinstance(names, dict):
        ids = [*map(str, range(len(names)))]
        if {*names} != {*ids}:
            raise UsageError(
                f"{file}: the ids of names are {', '.join(names)}, but must be 0 to "
                f"{len(names) - 1} without a gap.\nAdd the missing ids to names, such as "
                f"{min({*ids} - {*names})}: unused"
            )
        names = [names[index] for index in ids]
    listed = names if isinstance(names, list) else []
    classes = [name.strip() for name in listed if isinstance(name, str)]
    if not classes or len({*classes} - {""}) < len(listed):
        raise UsageError(f"{file} must list a unique name for each class under names.\n{EXAMPLE}")
    if texts(content.get("nc")) not in ([], [str(len(classes))]):
        raise UsageError(
            f"{file}: nc is {content['nc']}, but names has {len(classes)} classes.\n"
            "Correct names, or remove nc."
        )
    # Numbers in front of all names, from 0 or 1, must be those of the ids.
    numbers = [int(match[0]) for match in map(NUMBER.match, classes) if match]
    counted = sorted(numbers) in ([*range(len(classes))], [*range(1, len(classes) + 1)])
    if counted and numbers != [*range(len(classes))]:
        index = next(index for index, number in enumerate(numbers) if number != index)
        raise UsageError(
            f"{file}: the class {classes[index]!r} begins with {numbers[index]}, but its id is "
            f"{index}, as its place says.\nWrite only the names, in the order of the ids from 0. "
            "If no object has the id 0, name it: unused. If the numbers belong to the names, write "
            "them with a hyphen, as in 2-euro."
        )
    return classes


def check_other_lists(file: Path, classes: Sequence[str], others: Iterable[Path]) -> None:
    """Refuse another list of classes, if it exists, in which an id has another name."""
    for other in filter(Path.is_file, others):
        names: list[str] = []
        with suppress(UsageError):  # no list of classes
            names = class_names(other, read_description(other))
        for index, (name, again) in enumerate(zip(classes, names, strict=False)):
            if name.casefold() != again.casefold():
                raise UsageError(
                    f"{file} and {other} contradict each other: the class of id {index} is {name} "
                    f"or {again}.\nCorrect the wrong one, or remove it."
                )


def keypoint_values(file: Path, content: dict[str, Any]) -> int:
    """Return how many numbers the key points of an object have; 0 without ``kpt_shape``."""
    try:
        points, values = map(int, content.get("kpt_shape", (0, 0)))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: kpt_shape is {content['kpt_shape']}, but it must be the number of key points "
            "and the numbers of each: [17, 3]"
        ) from error
    return points * values
