"""Find the annotation files of formats with a file for each image, and match them with images."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..settings.data import DataFolder
from .coco import CocoImage, CocoObject, check_pixels, readable_size
from .files import files_below, how_to_read, split_folders
from .reading_summary import MISSING, OF_MISSING, Reading
from .text_files import read_lines

NO_CLASSES = {"__ignore__", "_background_"}  # labels of LabelMe that name no class
CLASS_FILES = ("classes.txt", "labels.txt")


class AnnotationFile(NamedTuple):
    """The content of an annotation file."""

    path: Path
    image: str  # the image file that it names, which may be a path on another computer
    size: tuple[int, int]  # height and width of the image; 0 if the file has no size
    objects: list[tuple[str, bool, dict[str, Any]]]  # class, whether it is a crowd, COCO's entry


def find_annotation_files(root: Path, suffix: str, reading: Reading) -> dict[str, list[Path]]:
    """Return the annotation files at any depth by split; without splits, all are for train."""
    folders = split_folders(root) or {"train": root}
    if "train" not in folders:
        raise UsageError(
            f"{root} has folders for {', '.join(folders)}, but none for train.\n"
            "Add train/, or move all files into one folder to have them split."
        )
    files = {}
    for split, folder in folders.items():
        found = [Path(path) for path in files_below(folder) if path.lower().endswith(suffix)]
        if found:
            files[split] = found
        elif split == "test":
            reading.note(f"{folder} has no {suffix} file, so it is not used for the test.")
        else:
            raise UsageError(
                f"{folder} has no {suffix} file.\nAnnotate its images, or remove the folder."
            )
    return files


def to_coco_images(
    files: Mapping[str, Sequence[AnnotationFile]],
    root: Path,
    settings: DataFolder,
    reading: Reading,
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Return the class names and the images of annotation files, by split, in COCO's form.

    The classes are those of the training images in alphabetical order, unless ``classes.txt`` or
    ``labels.txt`` lists them.
    """
    found = {name for file in files["train"] for name, _, _ in file.objects}
    labels = {name: label for label, name in enumerate(_class_names(root, found, reading))}
    images: defaultdict[str, list[Path]] = defaultdict(list)
    for name in reading.listed(root).images:
        images[_stem(name)].append(Path(name))
    splits: dict[str, list[CocoImage]] = {split: [] for split in files}
    contradicting: list[AnnotationFile] = []
    annotated: dict[Path, Path] = {}  # the annotation file of each image
    for split, file in ((split, file) for split, part in files.items() for file in part):
        path, lost = _find_image(file, images), len(file.objects)
        if path is None and not settings.skip_unreadable:
            raise UsageError(_why_missing(file, reading.listed(root).unsupported))
        if path is None:
            reading.leave_out("images", MISSING, file.path, split=split)
        elif path in annotated:
            raise UsageError(_why_twice(annotated[path], file.path, path))
        else:
            annotated[path] = file.path
            if path not in images.get(_stem(file.image), [path]):
                contradicting.append(file)
            splits[split].append(_convert(file, path, labels, settings))
            lost -= len(splits[split][-1].objects)
        if lost:
            reading.leave_out("objects", OF_MISSING, file.path, split=split, count=lost)
    for converted in splits.values():
        check_pixels(converted, reading)
    if contradicting:
        reading.note(
            "Annotation files that name another image than the one with their own name: "
            f"{len(contradicting)}, such as {contradicting[0].path} with {contradicting[0].image}. "
            "The image with the name of the file is used."
        )
    return list(labels), splits


def _why_missing(file: AnnotationFile, unsupported: Iterable[str]) -> str:
    names = {_stem(file.path.name), _stem(file.image)}
    image = next((path for path in unsupported if _stem(path) in names), None)
    reason = (
        f"{file.image} is missing" if image is None else f"{image} has a format that is not read"
    )
    remedy = "Add it." if image is None else how_to_read(image)
    return (
        f"{file.path}: its image {reason}.\n"
        f"To leave such images out: data.skip_unreadable=true. {remedy}"
    )


def _why_twice(first: Path, second: Path, image: Path) -> str:
    if first == second:
        return f"{first} is listed twice, in one split or in two.\nKeep a single entry."
    return (
        f"{first} and {second} both belong to {image}, so the image of one of them is missing.\n"
        "Add this image, or move the file away."
    )


def _class_names(root: Path, found: Iterable[str], reading: Reading) -> list[str]:
    file = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    names = sorted(found) if file is None else read_lines(file)
    classes = [name for name in names if name not in NO_CLASSES]
    if len({*classes}) < len(classes):
        raise UsageError(f"{file} names a class twice. Remove one of the two lines.")
    if not classes:
        raise UsageError(
            f"{root} has no annotated object in train, so there is nothing to learn.\n"
            f"{reading.lines()[1]}\nCheck the annotations of train."
        )
    return classes


def _stem(path: str) -> str:
    """Return the name of a file of any system without folders and suffix."""
    name = path.replace("\\", "/").rpartition("/")[2]
    stem = os.path.splitext(name)[0]  # noqa: PTH122 - faster than a Path
    return unicodedata.normalize("NFC", stem)  # macOS writes names in the form NFD


def _find_image(file: AnnotationFile, images: Mapping[str, Sequence[Path]]) -> Path | None:
    """Return the image with the name of the annotation file, or else that which the file names."""
    candidates = images.get(_stem(file.path.name)) or images.get(_stem(file.image)) or []
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    folder, named = file.path.parent, file.image.replace("\\", "/")
    common = {path: len(os.path.commonpath([folder, path])) for path in candidates}
    for is_nearer in (  # a preview of the same name may be nearer than the image
        lambda path: _normal(path) == _normal(folder / named),
        lambda path: path.suffix.lower() == Path(named).suffix.lower(),
        lambda path: path.parent == folder,
        lambda path: path.parent.name == folder.name,
        lambda path: common[path] == max(common.values()),
        lambda path: path.name == Path(named).name,
    ):
        candidates = [path for path in candidates if is_nearer(path)] or candidates
    if len(candidates) > 1:
        raise UsageError(
            f"{file.path} may belong to {candidates[0]} or to {candidates[1]}.\n"
            "Keep the image to use, and move the other away."
        )
    return candidates[0]


def _normal(path: Path) -> str:
    return unicodedata.normalize("NFC", os.path.normpath(path))


def _convert(
    file: AnnotationFile, path: Path, labels: Mapping[str, int], settings: DataFolder
) -> CocoImage:
    """Return the image with its objects, without any if the file is unreadable and skipped."""
    height, width = readable_size(path, file.size, settings)
    image = CocoImage(path, width, height, [], file.path)
    for number, (name, crowd, content) in enumerate(file.objects if height else []):
        if name not in labels and name not in NO_CLASSES:
            raise UsageError(
                f"{file.path} has an object of the class {name}, but the classes are "
                f"{', '.join(labels)}.\nThe classes are those of the training images. To name "
                "them yourself, write classes.txt into data.root, with a class on each line."
            )
        ignored = crowd or name in NO_CLASSES
        image.objects.append(CocoObject(number, labels.get(name, 0), ignored, content))
    return image
