"""Find the annotation files of formats with a file for each image, and match them with images."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..settings.data import DataFolder
from .coco import CocoImage, CocoObject, size_if_readable
from .files import files_below, split_folders
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

    @property
    def name(self) -> str:
        """The name of the image file that it names, without folders."""
        return self.image.replace("\\", "/").rpartition("/")[2]


def find_annotation_files(root: Path, suffix: str, reading: Reading) -> dict[str, list[Path]]:
    """Return the annotation files in the folders of the splits, at any depth.

    Without such folders, all files are those of train. A folder for test without annotation files
    is not used.

    Raises:
        UsageError: if there is no such folder or no such file, or no folder for train.
    """
    folders = split_folders(root) or {"train": root}
    if "train" not in folders:
        raise UsageError(
            f"{root} has folders for {', '.join(folders)}, but none for train.\n"
            "Add train/, or move all files into one folder to have them split."
        )
    files = {
        split: [Path(path) for path in files_below(folder) if path.lower().endswith(suffix)]
        for split, folder in folders.items()
    }
    if not files.get("test", ["unknown"]):
        reading.note(f"{folders['test']} has no {suffix} file, so it is not used for the test.")
        del files["test"]
    empty = next((split for split in files if not files[split]), None)
    if empty is not None:
        raise UsageError(
            f"{folders[empty]} has no {suffix} file.\nAnnotate its images, or remove the folder."
        )
    return files


def to_coco_images(
    files: Mapping[str, Sequence[AnnotationFile]],
    root: Path,
    settings: DataFolder,
    reading: Reading,
) -> tuple[list[str], dict[str, list[CocoImage]]]:
    """Convert annotation files to COCO's form, and find their images.

    Args:
        files: the annotation files by split.
        root: the folder of the data set.
        settings: how image files are read, and whether they may be missing.
        reading: counts what is left out.

    Returns:
        The class names, which are those of the training images in alphabetical order unless
        ``classes.txt`` or ``labels.txt`` lists them, and the images by split.

    Raises:
        UsageError: if an image is missing, or the class of an object is not known.
    """
    found = {name for file in files["train"] for name, _, _ in file.objects}
    classes = _class_names(root, found, reading)
    index = {name: label for label, name in enumerate(classes)}
    images: defaultdict[str, list[Path]] = defaultdict(list)
    for name in reading.listed(root).images:
        images[_stem(name)].append(Path(name))
    splits: dict[str, list[CocoImage]] = {split: [] for split in files}
    contradicting: list[AnnotationFile] = []
    annotated: dict[Path, Path] = {}  # the annotation file of each image
    for split, contents in files.items():
        for file in contents:
            path = _find_image(file, images)
            if path is not None and path not in images.get(_stem(file.name), [path]):
                contradicting.append(file)
            if path is not None:
                _check_owner(path, file, annotated)
                image = _convert(file, path, index, settings)
                splits[split].append(image)
                lost = len(file.objects) - len(image.objects)
            elif settings.skip_unreadable:
                reading.leave_out("images", MISSING, file.path, split=split)
                lost = len(file.objects)
            else:
                raise UsageError(
                    f"{file.path}: its image {file.image} is missing.\n"
                    "Add it, or leave such images out: data.skip_unreadable=true"
                )
            if lost:
                reading.leave_out("objects", OF_MISSING, file.path, split=split, count=lost)
    if contradicting:
        reading.note(
            "Annotation files that name another image than the one with their own name: "
            f"{len(contradicting)}, such as {contradicting[0].path} with {contradicting[0].image}. "
            "The image with the name of the file is used."
        )
    return classes, splits


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
    stem = os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122 - faster than a Path
    return unicodedata.normalize("NFC", stem)  # macOS writes names in the form NFD


def _find_image(file: AnnotationFile, images: Mapping[str, Sequence[Path]]) -> Path | None:
    """Return the image with the name of the annotation file, or else that which the file names."""
    candidates = images.get(_stem(file.path.name)) or images.get(_stem(file.name)) or []
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    folder = file.path.parent
    common = {path: len(os.path.commonpath([folder, path])) for path in candidates}
    for is_nearer in (
        lambda path: path.parent == folder,
        lambda path: path.parent.name == folder.name,
        lambda path: common[path] == max(common.values()),
        lambda path: path.name == file.name,
    ):
        candidates = [path for path in candidates if is_nearer(path)] or candidates
    if len(candidates) > 1:
        raise UsageError(
            f"{file.path} may belong to {candidates[0]} or to {candidates[1]}.\n"
            "Keep the image to use, and move the other away."
        )
    return candidates[0]


def _check_owner(path: Path, file: AnnotationFile, annotated: dict[Path, Path]) -> None:
    """Check that an image has a single annotation file; ``annotated`` has those of all images."""
    other = annotated.setdefault(path, file.path)
    if other != file.path:
        raise UsageError(
            f"{other} and {file.path} both belong to {path}, so the image of one of them is "
            "missing.\nAdd this image, or move the file away."
        )


def _convert(
    file: AnnotationFile, path: Path, classes: Mapping[str, int], settings: DataFolder
) -> CocoImage:
    """Return the image with its objects, without any if the file is unreadable and skipped."""
    height, width = file.size if min(file.size) > 0 else size_if_readable(path, settings)
    if not height:
        return CocoImage(path, 0, 0, [], file.path)
    objects = []
    for number, (name, crowd, content) in enumerate(file.objects):
        if name not in classes and name not in NO_CLASSES:
            raise UsageError(
                f"{file.path} has an object of the class {name}, but the classes are "
                f"{', '.join(classes)}.\nThe classes are those of the training images. To name "
                "them yourself, write classes.txt into data.root, with a class on each line."
            )
        ignored = crowd or name in NO_CLASSES
        objects.append(CocoObject(number, classes.get(name, 0), ignored, content))
    return CocoImage(path, width, height, objects, file.path)
