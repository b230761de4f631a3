"""Find the class names and the images of YOLO data that ``data.yaml`` does not describe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.files import SPLIT_NAMES, split_folders
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
    named = {
        split: content[word]
        for split, words in SPLIT_NAMES.items()
        for word in words
        if text_of(content.get(word))
    }
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
