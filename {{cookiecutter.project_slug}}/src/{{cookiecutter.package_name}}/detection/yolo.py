"""Read data sets in YOLO format: ``data.yaml``, and a text file of boxes for each image."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..data.coco_files import existing_files
from ..data.files import ListedFiles, folder_of, split_of, succeeds
from ..data.image_paths import existing_form, find_images
from ..data.reading_summary import Reading
from ..data.text_files import read_lines
from ..errors import UsageError
from ..settings.data import DataFolder
from .boxes import MANY, AnnotatedImage
from .yolo_files import (
    EXAMPLE,
    class_names,
    find_description,
    find_entries,
    keypoint_values,
    paths_of,
    read_description,
    text_of,
)
from .yolo_labels import Labels, count_unused_labels, label_file, read_labels


def read_yolo(
    root: Path, settings: DataFolder, reading: Reading
) -> tuple[list[str], dict[str, list[AnnotatedImage]]]:
    """Read the images of the splits that the data have, with their boxes.

    Args:
        root: the folder of ``data.yaml``, or that file itself.
        settings: whether images may be missing or outside of ``root``.
        reading: counts what is left out.

    Returns:
        The class names, and the annotated images by split; without splits, all images are those of
        train.

    Raises:
        UsageError: if a file or a line of a file is missing or invalid, or if no image of the
            training or of the validation split has an object.
    """
    file = find_description(root)
    folder = folder_of(root)
    content = read_description(file)
    classes, keypoints = class_names(file, content), keypoint_values(file, content)
    base = folder / (text_of(content.get("path")) or ".")
    base = base if succeeds(base.is_dir) else folder
    entries = find_entries(content, base)
    if "train" not in entries:
        raise UsageError(f"{file} has no train.\n{EXAMPLE}")
    splits: dict[str, list[AnnotatedImage]] = {}
    for split, entry in entries.items():
        sources = {name: _resolve(base, name) for name in paths_of(entry)}
        absent = next((name for name, source in sources.items() if source is None), None)
        if absent is not None and split == "test":
            reading.note(f"{file} names {absent}, which does not exist.")
            continue
        if absent is not None:
            raise UsageError(f"{file} names {absent}, but there is no {base / absent}.")
        images: list[Path] = []
        for name, source in sources.items():
            if source not in {base / name, base / name.removeprefix("../")}:
                reading.note(f"{file} names {name}, which is read as {source}.")
            paths, named_in = _paths(source or base, base, file, reading.listed(folder))
            images += existing_files(
                dict(enumerate(paths)), folder, settings, reading, split=split, source=named_in
            ).values()
        labels = Labels(split, len(classes), keypoints, [], Counter(), Counter(), reading)
        splits[split] = [read_labels(path, labels) for path in sorted(images)]
        _note_labels(labels, len(images))
        _note_corners(split, splits[split], reading)
    _check_objects(file, splits, reading)
    count_unused_labels([image.path for images in splits.values() for image in images], reading)
    return classes, splits


def _paths(source: Path, base: Path, file: Path, listed: ListedFiles) -> tuple[list[Path], Path]:
    """Return the images in a folder, or those that a list names, and the file that names them."""
    if source.is_dir():
        return [*map(Path, listed.images_in(source))], file
    lines = read_lines(source)
    return find_images(lines, [source.parent, base])[0] if lines else [], source


def _note_labels(labels: Labels, images: int) -> None:
    """Note images without a label file, and polygons that may be boxes with further numbers."""
    if labels.missing:
        labels.reading.note(
            f"Images of {labels.split} without a label file, which count as background: "
            f"{len(labels.missing)} of {images}, the first is {labels.missing[0]}."
        )
    if {*labels.polygons} == {6}:
        labels.reading.note(
            f"Lines of {labels.split} with 7 numbers: {labels.polygons[6]}. They are read as "
            "triangles. If they are boxes followed by two other numbers, remove those two numbers."
        )
    elif len(labels.polygons) == 1 and labels.poses == labels.polygons:
        ((values, count),) = labels.polygons.items()
        labels.reading.note(
            f"Lines of {labels.split} with {values + 1} numbers: {count}. They are read as "
            "polygons. If they are boxes followed by key points, write into data.yaml how many "
            f"points there are, and the numbers of each: kpt_shape: [{values // 2 - 2}, 2]"
        )


def _note_corners(split: str, images: Sequence[AnnotatedImage], reading: Reading) -> None:
    """Note boxes that are all wider and higher than their centre is far from the upper left."""
    boxes = [item.box for image in images for item in image.objects]
    if len(boxes) >= MANY and all(x2 > 3 * x1 and y2 > 3 * y1 for x1, y1, x2, y2 in boxes):
        reading.note(
            f"Each box of {split} may be two corners, since its third and fourth number exceed the "
            "first and second one. They are read as width and height: check this in the pictures "
            "of predictions, which show the boxes, too."
        )


def _check_objects(file: Path, splits: dict[str, list[AnnotatedImage]], reading: Reading) -> None:
    """Refuse a split without any object; if it is the test split, remove it."""
    for split, images in list(splits.items()):
        if any(image.objects for image in images):
            continue
        reason = f"{file}: none of the {len(images)} images of {split} has an object"
        if split == "test":
            reading.note(f"{reason}, so it is not used for the test.")
            del splits[split]
            continue
        if not images:
            raise UsageError(
                f"{file}: there is no image for {split}.\nCorrect its entry, or data.root."
            )
        label = label_file(images[0].path)
        state = "has none" if Path(label).is_file() else "does not exist"
        raise UsageError(
            f"{reason}.\nThe objects of {images[0].path} should be in {label}, which {state}. The "
            "path of a label file is that of the image with labels/ instead of the last images/."
        )


def _resolve(base: Path, name: str) -> Path | None:
    """Return what ``data.yaml`` names; a path of another computer is found by its last parts.

    One of these parts must name a split. Some tools write ../train/images for train/images.
    """
    parts = name.split("/")
    ends = (parts[start:] for start in range(1, len(parts)))
    moved = ("/".join(end) for end in ends if any(split_of(Path(part).stem) for part in end))
    candidates = (base / path for path in (name, name.removeprefix("../"), *moved))
    return next((path for path in map(existing_form, candidates) if succeeds(path.exists)), None)
