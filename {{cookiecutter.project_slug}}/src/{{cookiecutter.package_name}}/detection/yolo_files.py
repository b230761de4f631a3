"""Read ``data.yaml`` of YOLO data, and find what it does not describe."""

from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..data.files import SPLIT_NAMES, SUFFIXES, split_folders
from ..data.text_files import read_lines, read_text
from ..errors import UsageError

EXAMPLE = """data.yaml must contain the names of the classes; without splits, the images are split:
  train: images/train
  val: images/val
  names: [cat, dog]
Without data.yaml, classes.txt must have the name of a class on each line."""
DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml")
# The class names as labelImg, Label Studio and Darknet write them.
CLASS_FILES = ("classes.txt", "labels/classes.txt", "obj.names")


def find_description(root: Path) -> Path:
    """Return the file with the class names: ``data.root`` itself, ``data.yaml`` or ``classes.txt``.

    Raises:
        UsageError: if there is no such file.
    """
    if root.is_file():
        return root
    files = [root / name for name in (*DESCRIPTIONS, *CLASS_FILES)]
    file = next((path for path in files if path.is_file()), None)
    if file is None:
        raise UsageError(f"{files[0]} is missing.\n{EXAMPLE}")
    return file


def find_entries(content: Mapping[str, Any], root: Path) -> dict[str, object]:
    """Return the folders or lists of the images by split; without splits, there is train only.

    Args:
        content: the content of ``data.yaml``, whose entries need not exist.
        root: the folder to which entries are relative; without entries, it is searched.
    """
    named: dict[str, object] = {}
    for split, words in SPLIT_NAMES.items():
        for word in words:
            entry = content.get(word)
            if text_of(entry) and named.setdefault(split, entry) != entry:
                raise UsageError(
                    f"data.yaml names other images for {split} as {word}: {entry}.\n"
                    "Keep one of the entries."
                )
    if named:
        return named
    folder = root / "images" if (root / "images").is_dir() else root
    folders = split_folders(folder) or {"train": folder}
    return {split: str(path.relative_to(root)) for split, path in folders.items()}


def paths_of(entry: object) -> list[str]:
    """Return the files or folders that ``data.yaml`` names for a split."""
    names = entry if isinstance(entry, list) else [entry]
    return [str(name).replace("\\", "/") for name in names if text_of(name)]


def text_of(value: object) -> str:
    """Return a value of ``data.yaml`` as text, empty for null."""
    text = "" if value is None else str(value)
    return "" if text in {"null", "Null", "NULL", "~"} else text


class _TextLoader(yaml.BaseLoader):
    """Reads all values as text, so that a class may be named "no" or "1.0"."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as in PyYAML
    ) -> dict[Hashable, Any]:
        """Return a mapping; a repeated key, of which PyYAML takes the last value, is an error."""
        keys = Counter(str(key.value) for key, _ in node.value)
        for key, count in keys.items():
            if count > 1:
                raise yaml.YAMLError(f"{key} occurs {count} times in the same mapping")
        return super().construct_mapping(node, deep)


def read_description(file: Path) -> Any:
    """Return the content of ``data.yaml``, with all values as text, or the names of another file.

    Raises:
        UsageError: if the file is missing, or is neither valid YAML nor a list of names.
    """
    suffix = file.suffix.lower()
    if suffix not in {".yaml", ".yml"}:
        names = read_lines(file) if suffix in {".txt", ".names"} else []
        if not names or Path(names[0]).suffix.lower() in SUFFIXES:
            raise UsageError(f"{file} is not a list of class names.\n{EXAMPLE}")
        return {"names": names}
    try:
        return yaml.load(read_text(file), Loader=_TextLoader)  # noqa: S506
    except FileNotFoundError as error:
        raise UsageError(f"{file} is missing.\n{EXAMPLE}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file} is not valid YAML: {error}") from error


def keypoint_values(file: Path, content: dict[str, Any]) -> int:
    """Return how many numbers the key points of an object have; 0 without ``kpt_shape``."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    try:
        points, values = map(int, shape)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{file}: kpt_shape is {shape}, but it must be the number of key points and the "
            "numbers of each: [17, 3]"
        ) from error
    return points * values


def class_names(file: Path, content: Any) -> list[str]:
    """Return the class names in the order of their ids.

    Raises:
        UsageError: if there are none, or they are not unique, or their ids have a gap.
    """
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        ids = [*map(str, range(len(names)))]
        if {*names} != {*ids}:
            raise UsageError(
                f"{file}: the ids of names are {', '.join(names)}, but must be 0 to "
                f"{len(names) - 1} without a gap.\nName a class of the missing ids, such as "
                f"{min({*ids} - {*names})}: unused"
            )
        names = [names[index] for index in ids]
    listed = names if isinstance(names, list) else []
    classes = [name.strip() for name in listed if isinstance(name, str)]
    if not classes or len({*classes} - {""}) < len(listed):
        raise UsageError(f"{file} must list a unique name for each class under names.\n{EXAMPLE}")
    if text_of(content.get("nc")) not in {"", str(len(classes))}:
        raise UsageError(
            f"{file}: nc is {content['nc']}, but names has {len(classes)} classes.\n"
            "Correct names, or remove nc."
        )
    return classes
