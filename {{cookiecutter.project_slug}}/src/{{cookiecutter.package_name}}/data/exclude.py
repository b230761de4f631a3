"""Leave out the images that a file lists."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from ..settings.data import DataFolder
from .files import relative_names
from .reading_summary import Reading, number_of
from .text_files import read_lines

ImageT = TypeVar("ImageT")


def without_excluded(
    images: Mapping[str, Sequence[ImageT]],
    settings: DataFolder,
    reading: Reading,
    path: Callable[[ImageT], str | Path],
) -> dict[str, Sequence[ImageT]]:
    """Remove the images that ``data.exclude`` lists from each split, and count them.

    Each line of the file is the path of an image, below ``data.root`` or as an absolute path. Empty
    lines and comments, which start with ``#`` and a space, are left out.

    Raises:
        UsageError: if there is no such file, or it leaves no image of a split.
    """
    if settings.exclude is None:
        return dict(images)
    try:
        lines = read_lines(settings.exclude)
    except FileNotFoundError as error:
        raise UsageError(f"data.exclude={settings.exclude}: there is no such file.") from error
    listed = set(lines)
    unknown = set(listed)
    remaining: dict[str, Sequence[ImageT]] = {}
    for split, part in images.items():
        chosen = []
        relative = relative_names(map(path, part), settings.root)
        for image, name in zip(part, relative, strict=True):
            names = {name, str(path(image)), str(Path(path(image)).absolute())} & listed
            unknown -= names
            if names:
                reading.leave_out("images", f"in {settings.exclude}", path(image), split=split)
            else:
                chosen.append(image)
        if part and not chosen:
            raise UsageError(f"data.exclude={settings.exclude} lists all images of {split}.")
        remaining[split] = chosen
    if unknown:
        reading.note(
            f"{settings.exclude}: the data set has no images for "
            f"{number_of(len(unknown), 'lines')}, such as {min(unknown)}."
        )
    return remaining
