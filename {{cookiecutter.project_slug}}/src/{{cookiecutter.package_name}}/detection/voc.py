"""Read data sets in Pascal VOC's format: an XML file of boxes for each image."""

import math
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ..data.annotation_files import AnnotationFile, find_annotation_files, to_coco_images
from ..data.coco import CocoImage
from ..data.files import SUFFIXES, UNSUPPORTED, files_below, folders_in, split_lists
from ..data.reading_summary import Reading
from ..data.text_files import read_lines, read_text
from ..errors import UsageError
from ..settings.data import DataFolder

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIDES = ("height", "width")
DIFFICULT = {
    **dict.fromkeys(("", "0", "0.0", "false", "unspecified"), False),
    **dict.fromkeys(("1", "1.0", "true"), True),
}
ENCODING = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")


def read_voc(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the class names, and the images that have an XML file by split.

    The corners of a box count pixels from 1, and the last pixel belongs to the box; if a corner is
    less than 1, all corners are edges in pixels from 0 instead. Objects that are ``difficult``
    become crowds: they are not trained on, and detecting them is not a mistake.
    """
    # VOCdevkit has a folder for each year, such as VOC2007 and VOC2012.
    years = [root / name for name in folders_in(root) if name.upper().startswith("VOC")]
    years = [folder for folder in years if _below(folder, "annotations")]
    if not years or _below(root, "annotations"):
        years = [root]
    files: defaultdict[str, list[AnnotationFile]] = defaultdict(list)
    for folder in years:
        for split, paths in _find(folder, reading).items():
            files[split] += [_parse(path, split, reading) for path in paths]
    _shift_if_from_zero([file for part in files.values() for file in part], reading)
    root = years[0] if len(years) == 1 else root
    classes, splits = to_coco_images(files, root, settings, reading)
    for split, images in splits.items():
        for image in images:
            if difficult := sum(item.crowd for item in image.objects):
                reason = "difficult, which are ignored like crowds"
                reading.leave_out("objects", reason, image.source, split=split, count=difficult)
    return classes, splits


def _shift_if_from_zero(files: Sequence[AnnotationFile], reading: Reading) -> None:
    """Correct the boxes, which are read as if corners count from 1, if a corner is less than 1."""
    boxes = [(entry["bbox"], file.path) for file in files for _, _, entry in file.objects]
    first = next((path for box, path in boxes if min(box[:2]) < 0), None)
    if first is not None:
        reading.note(
            f"{first} has a corner less than 1: all boxes are read as edges in pixels from 0, "
            "instead of pixels from 1 as in Pascal VOC."
        )
        for box, _ in boxes:
            box[:] = box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1


def _below(root: Path | None, name: str) -> Path | None:
    """Return the folder of this name, in any case of letters, if there is one."""
    names = [other for other in folders_in(root) if other.lower() == name] if root else []
    return root / names[0] if root and names else None


def _find(root: Path, reading: Reading) -> dict[str, list[Path]]:
    """Return the XML files by split."""
    annotations, sets = _below(root, "annotations"), _below(root, "imagesets")
    if annotations is None:
        return find_annotation_files(root, ".xml", reading)
    lists = next(filter(None, map(split_lists, (_below(sets, "main"), sets, root))), {})
    if not lists:
        for file in list(split_lists(annotations).values())[:1]:
            reading.note(
                f"{file} is not read, nor another list in this folder. To use the splits of these "
                f"lists, move them to {root / 'ImageSets' / 'Main'}."
            )
        return find_annotation_files(annotations, ".xml", reading)
    if "train" not in lists:
        raise UsageError(f"{next(iter(lists.values())).parent} has no train.txt.")
    start = len(str(annotations)) + 1
    files = [path for path in files_below(annotations) if path.lower().endswith(".xml")]
    stems = [unicodedata.normalize("NFC", path[start:-4].replace(os.sep, "/")) for path in files]
    last = [stem.rpartition("/")[2] for stem in stems]
    counts = Counter(last)
    # A list may name a file in a folder below without this folder, if the name is unique.
    known = {name: path for name, path in zip(last, files, strict=True) if counts[name] == 1}
    known |= zip(stems, files, strict=True)
    found: dict[str, list[Path]] = {}
    for split, file in lists.items():
        lines = read_lines(file)
        paths = [next(filter(None, map(known.get, _names(line))), None) for line in lines]
        absent = [line for line, path in zip(lines, paths, strict=True) if path is None]
        if split == "test" and absent == lines:
            reading.note(f"{file} names no XML file, so it is not used for the test.")
            continue
        if absent:
            raise UsageError(
                f"{file} names {absent[0]}, but there is no {annotations / absent[0]}.xml "
                f"({len(absent)} of {len(lines)} files).\nAdd it, or remove it from the list."
            )
        found[split] = [Path(path) for path in paths if path]
    return found


def _names(line: str) -> Iterator[str]:
    """Yield the names that a line of a list may mean: a path, which a number may follow."""
    for word in (line, line.split(maxsplit=1)[0]):
        path = unicodedata.normalize("NFC", word.replace("\\", "/"))
        for name in (path, path.rpartition("/")[2]):
            yield name
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a string
            if suffix.lower() in {".xml", *SUFFIXES, *UNSUPPORTED}:
                yield stem


def _text(path: Path) -> str:
    """Return the text of an XML file in the encoding that its first line declares, or in UTF-8.

    The XML parser of Python knows few encodings, and no Chinese, Japanese or Korean ones.
    """
    content = path.read_bytes()
    declared = ENCODING.match(content)
    # A declaration in single bytes cannot be one of UTF-16, as some tools write it.
    if declared is None or declared[1].lower().startswith(b"utf"):
        return read_text(path)
    name = declared[1].decode().lower()
    return content.decode("gb18030" if name in {"gb2312", "gbk"} else name)


def _parse(path: Path, split: str, reading: Reading) -> AnnotationFile:
    try:
        tree = ET.fromstring(_text(path))  # noqa: S314 - it reads no external entities
    except (ET.ParseError, LookupError, ValueError) as error:
        raise UsageError(
            f"{path} is not valid XML: {error}.\nWrite or download it again, or move it away if it "
            "is no annotation. Save it as UTF-8 if its first line names another encoding."
        ) from error
    if tree.tag != "annotation":
        raise UsageError(f"{path} is not a Pascal VOC file: it begins with <{tree.tag}>.")
    try:
        height, width = (int(float(tree.findtext(f"size/{side}") or 0)) for side in SIDES)
        items = [*tree.iter("object")]
        kept = [item for item in items if (item.findtext("deleted") or "").strip() != "1"]
        objects = [*map(_object, kept)]
    except (OverflowError, ValueError) as error:
        raise UsageError(
            f"{path}: {error}.\nEach object needs a name and one bndbox of {', '.join(CORNERS)}; "
            "difficult is 0 or 1."
        ) from error
    if deleted := len(items) - len(kept):
        reading.leave_out("objects", "marked as deleted", path, split=split, count=deleted)
    image = (tree.findtext("filename") or path.stem).strip()
    return AnnotationFile(path, image, (height, width), objects)


def _object(item: ET.Element) -> tuple[str, bool, dict[str, Any]]:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    if len(item.findall("bndbox")) > 1:
        raise ValueError(f"an object {name} has several boxes")
    # The box itself, not that of a part of the object, which is further below.
    words = [item.findtext(f"bndbox/{corner}") or "" for corner in CORNERS]
    try:
        left, top, right, bottom = map(float, words)
        if not math.isfinite(left + top + right + bottom):
            raise ValueError(words)
    except ValueError as error:
        raise ValueError(f"an object {name} has the corners {words}") from error
    difficult = (item.findtext("difficult") or "").strip().lower()
    if difficult not in DIFFICULT:
        raise ValueError(f"an object {name} is difficult={difficult}, which is neither 0 nor 1")
    box = [left - 1, top - 1, right - left + 1, bottom - top + 1]  # x, y, width, height from 0
    return name, DIFFICULT[difficult], {"bbox": box}
