"""Read data sets in Pascal VOC's format: an XML file of boxes for each image."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from ..data.coco import CocoImage
from ..data.files import folders_in, split_of
from ..data.reading import Reading
from ..data.sidecars import AnnotationFile, convert_files, find_by_split
from ..data.text import read_lines
from ..errors import UsageError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    root: Path, reading: Reading, *, missing_images: bool = False
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Read the images that have an XML file, by split; without splits, all are those of train.

    The corners of a box count pixels from 1, and the last pixel belongs to the box. Objects that
    are ``difficult`` become crowds: they are not trained on, and detecting them is no mistake.

    Args:
        root: the folder with ``Annotations/``, or with XML files in it or in the folders of splits.
        reading: counts what is left out.
        missing_images: if true, XML files whose image is missing are left out.

    Returns:
        The class names and the annotated images by split, see ``convert_files``.

    Raises:
        UsageError: if a file is missing or invalid.
    """
    root = _voc_folder(root)
    files = {split: [_parse(path) for path in paths] for split, paths in _find(root).items()}
    classes, splits = convert_files(files, root, reading, missing_images=missing_images)
    for split in files:
        difficult = sum(item.crowd for image in splits[split] for item in image.objects)
        if difficult:
            reason = "difficult, which are ignored like crowds"
            reading.leave_out("objects", reason, root, split=split, count=difficult)
    return classes, splits


def _voc_folder(root: Path) -> Path:
    """Return the folder that holds the annotations, which may be ``VOCdevkit/VOC2012``."""
    years = [name for name in folders_in(root) if name.upper().startswith("VOC")]
    return root / years[0] if len(years) == 1 and _annotations(root) is None else root


def _annotations(root: Path) -> Path | None:
    names = [name for name in folders_in(root) if name.lower() == "annotations"]
    return root / names[0] if names else None


def _find(root: Path) -> dict[str, list[Path]]:
    """Return the XML files by split."""
    annotations = _annotations(root)
    if annotations is None:
        return find_by_split(root, ".xml")
    lists = {
        split: path
        for path in sorted((root / "ImageSets" / "Main").glob("*.txt"))
        if (split := split_of(path.stem))
    }
    if not lists:
        return find_by_split(annotations, ".xml")
    if "train" not in lists:
        raise UsageError(f"{root / 'ImageSets' / 'Main'} has no train.txt.")
    return {split: _listed(path, annotations) for split, path in lists.items()}


def _listed(file: Path, annotations: Path) -> list[Path]:
    paths = [annotations / f"{line.split()[0]}.xml" for line in read_lines(file)]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UsageError(
            f"{file} names {missing[0].stem}, but there is no {missing[0]} "
            f"({len(missing)} of {len(paths)} files).\nAdd it, or remove it from the list."
        )
    return paths


def _parse(path: Path) -> AnnotationFile:
    try:
        tree = ET.fromstring(path.read_bytes())  # noqa: S314 - it reads no external entities
    except (ET.ParseError, LookupError, ValueError) as error:
        raise UsageError(
            f"{path} is not valid XML: {error}.\n"
            "If its text has another encoding than its first line says, save it as UTF-8."
        ) from error
    if tree.tag != "annotation":
        raise UsageError(f"{path} is no file of Pascal VOC: it begins with <{tree.tag}>.")
    try:
        size = tuple(int(tree.findtext(f"size/{side}") or 0) for side in ("height", "width"))
        objects = [_object(item) for item in tree.iter("object")]
    except ValueError as error:
        raise UsageError(
            f"{path}: {error}.\nEach object needs a name and a bndbox of {', '.join(CORNERS)}."
        ) from error
    image = (tree.findtext("filename") or path.stem).strip()
    return AnnotationFile(path, image, (size[0], size[1]), objects)


def _object(item: ET.Element) -> tuple[str, bool, dict[str, Any]]:
    name = (item.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    # The box itself, not that of a part of the object, which is further below.
    words = [item.findtext(f"bndbox/{corner}") or "" for corner in CORNERS]
    left, top, right, bottom = map(float, words)
    box = [left - 1, top - 1, right - left + 1, bottom - top + 1]  # x, y, width, height from 0
    return name, int(item.findtext("difficult") or 0) != 0, {"bbox": box}
