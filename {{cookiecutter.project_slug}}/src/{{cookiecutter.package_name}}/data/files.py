"""List the image files and the folders of a data set."""

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import features

from ..errors import UsageError

HEIF = (".heic", ".heif")  # read by the package pillow-heif
SUFFIXES = frozenset({
    # ~ if cookiecutter.scope == "complete"
    ".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp",
    # ~ else
    ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
    # ~ endif
    *([".avif"] if features.check("avif") else []),
    *(HEIF if find_spec("pillow_heif") else []),
})  # fmt: skip
# Names such as a.jpg_large, a.png.part or a.jpg~, but not those of annotations, such as a.jpg.txt.
LIKE_IMAGE = re.compile(
    r"\.(bmp|gif|jpe?g|png|tiff?|webp)"
    r"(?!.*\.(csv|json|md5|ovr|tfw|txt|xml|xmp|ya?ml)$)[^/\\]*$",
    re.IGNORECASE,
)
# Suffixes of images that are counted as not read, unless SUFFIXES has them, too.
UNSUPPORTED = frozenset({
    ".apng", ".arw", ".avi", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".fits", ".hdr",
    *HEIF, ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jxl", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpo", ".nef", ".nii", ".npy", ".npz", ".orf", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm",
    ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".webm",
})  # fmt: skip
SYSTEM_FOLDERS = frozenset({  # of Windows, macOS, Linux and network storage, in lower case
    "#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recycle", "__macosx", "lost+found",
    "recycler", "system volume information",
})  # fmt: skip
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


class ListedFiles(NamedTuple):
    """The files below a folder; the paths are sorted by their parts: a/1.jpg is before a.jpg."""

    images: list[str]
    unsupported: list[str]  # images of formats that are not read, and files without a suffix
    skipped: list[str]  # hidden files and folders, and links to files that do not exist
    repeated: list[str]  # links that are not followed, since they lead to other listed folders

    def images_in(self, folder: str | Path) -> list[str]:
        """Return the images below one of the folders, as ``list_images`` does."""
        if self.repeated:  # such a link may lead from this folder to another one
            return list_images(folder).images
        parts = Path(folder).parts
        first, end = (
            bisect(self.images, parts, key=lambda path: Path(path).parts[: len(parts)])
            for bisect in (bisect_left, bisect_right)
        )
        return self.images[first:end] or list_images(folder).images


# ~ if cookiecutter.scope == "complete"
def how_to_read(path: str | Path) -> str:
    """Return what to do with an image of a format that is not read."""
    if Path(path).suffix.lower() in HEIF:
        return "Install the package that reads it: uv add pillow-heif"
    return f"Convert it to one of {' '.join(sorted(SUFFIXES))}."


# ~ endif
def is_hidden(name: str) -> bool:
    """Return whether the name of a file or folder says that it is not a part of the data.

    Examples are ``.ipynb_checkpoints``, ``._001.jpg`` and ``__MACOSX``, but not ``..jpg``.
    """
    return (name.startswith(".") and not name.startswith("..")) or name.lower() in SYSTEM_FOLDERS


def files_below(
    folder: str | Path, skipped: list[str] | None = None, repeated: list[str] | None = None
) -> list[str]:
    """Return the sorted paths of all files below a folder, except hidden files and folders.

    Links are followed, unless they lead to a folder that is listed anyway, or to a folder around
    it. Such links are appended to ``repeated``, hidden entries and broken links to ``skipped``.
    """
    files: list[str] = []
    listed = [os.path.realpath(folder)]
    skipped = [] if skipped is None else skipped
    repeated = [] if repeated is None else repeated

    def add(folder: str) -> None:
        start = os.path.join(folder, "")  # noqa: PTH118 - a string
        names, others = _entries(folder)
        for name in names:
            if name not in others:
                files.append(f"{start}{name}")
                continue
            entry, hidden = others[name], is_hidden(name)
            if succeeds(entry.is_dir) and not hidden:
                if entry.is_symlink():
                    link = os.path.realpath(entry.path)
                    if any(os.path.commonpath([link, known]) in {link, known} for known in listed):
                        repeated.append(entry.path)
                        continue
                    listed.append(link)
                add(entry.path)
            elif succeeds(entry.is_file) and not (hidden and name[0] == "."):
                files.append(f"{start}{name}")
            elif entry.is_symlink() or hidden:
                skipped.append(entry.path)

    add(str(folder))
    return files


def _entries(folder: str) -> tuple[list[str], dict[str, os.DirEntry[str]]]:
    """Return the sorted names in a folder, and the entries that are not plain, visible files."""
    names, others = list[str](), dict[str, os.DirEntry[str]]()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            names.append(name)
            # A Path and a system call for each file would take ten times as long.
            if name[0] == "." or not entry.is_file(follow_symlinks=False):
                others[name] = entry
    names.sort()
    return names, others


def succeeds(test: Callable[[], bool]) -> bool:
    """Return the result of ``path.is_file`` or the like; False for a link that leads to itself."""
    try:
        return test()
    except OSError:
        return False


def list_images(folder: str | Path) -> ListedFiles:
    """List the images below a folder, and the files that are left out."""
    files = ListedFiles([], [], [], [])
    for path in files_below(folder, files.skipped, files.repeated):
        suffix = path[path.rfind(".") :]  # a Path or os.path.splitext takes longer
        if suffix in SUFFIXES or suffix.lower() in SUFFIXES:
            files.images.append(path)
        elif (
            suffix.lower() in UNSUPPORTED
            or "." not in path[path.rfind(os.sep) :]
            or LIKE_IMAGE.search(path)
        ):
            files.unsupported.append(path)
    return files


def folders_in(folder: str | Path) -> list[str]:
    """Return the sorted names of the folders in a folder, also of links, without hidden folders."""
    try:
        with os.scandir(folder) as entries:
            folders = [entry.name for entry in entries if succeeds(entry.is_dir)]
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: there is no such folder.\nCorrect data.root.") from error
    except NotADirectoryError as error:
        # ~ if cookiecutter.scope == "complete"
        remedy = "Name its folder, or a format that is read from such a file: data=<format>"
        # ~ else
        remedy = "Name its folder as data.root."
        # ~ endif
        raise UsageError(f"{folder} is a file, not a folder.\n{remedy}") from error
    return sorted(name for name in folders if not is_hidden(name))


def split_of(word: str) -> str | None:
    """Return the split that a word stands for, such as ``val`` for ``Validation``, or None."""
    return next((split for split, words in SPLIT_NAMES.items() if word.lower() in words), None)


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of ``train``, ``val`` and ``test`` in a folder, as far as they exist.

    Their names are those of ``SPLIT_NAMES``, in any case of letters; two of a split are refused.
    """
    found: dict[str, Path] = {}
    names = folders_in(folder)
    for split in SPLIT_NAMES:
        matching = [name for name in names if split_of(name) == split]
        if len(matching) > 1:
            several = ", ".join(matching)
            raise UsageError(f"{folder} has several folders for {split}: {several}.\nKeep one.")
        if matching:
            found[split] = folder / matching[0]
    return found


# ~ if cookiecutter.task == "segmentation" or (cookiecutter.task == "detection" and cookiecutter.scope == "complete")
def split_lists(folder: Path | None) -> dict[str, Path]:
    """Return the text files of a folder that are named after a split, by split.

    Two of a split are refused. ``trainval.txt`` is used if there is none of train and of val.
    """
    lists: dict[str, Path] = {}
    for path in sorted(folder.glob("*.txt")) if folder else []:
        split = split_of(path.stem)
        if split in lists:
            raise UsageError(
                f"{lists[split]} and {path} are both lists of {split}.\n"
                "Keep the list to use, and move the other one away."
            )
        if split:
            lists[split] = path
    both = folder / "trainval.txt" if folder else None
    if both and both.is_file() and not {"train", "val"} & {*lists}:
        return {"train": both, **lists}
    return lists


# ~ endif
def relative_names(paths: Iterable[str | Path], root: Path) -> list[str]:
    """Return paths relative to the data set, with ``/`` on every system."""
    folder = folder_of(root)
    prefix = f"{folder}{os.sep}"
    inside = (
        path[len(prefix) :] if path.startswith(prefix) else os.path.relpath(path, folder)
        for path in map(str, paths)
    )
    # Bytes that are not UTF-8 become escapes, as in the files that write_csv writes.
    return [name.replace(os.sep, "/").encode(errors="backslashreplace").decode() for name in inside]


def folder_of(root: Path) -> Path:
    """Return the folder of the data set, also if ``data.root`` is its annotation file."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name == "annotations" else root.parent
