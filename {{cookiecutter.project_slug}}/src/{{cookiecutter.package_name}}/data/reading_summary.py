"""Summary of reading a data set: how much was used, and how much was left out for which reason."""

import json
import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
# ~ if cookiecutter.task == "segmentation"
from pathlib import Path
from typing import Any

# ~ else
from pathlib import Path

# ~ endif
import numpy as np

from ..run.atomic_files import write_json
from ..run.folder import Run
from ..run.processes import is_first
from .files import SPLIT_NAMES, ListedFiles, list_images

log = logging.getLogger(__name__)

# ~ if cookiecutter.scope == "complete" or cookiecutter.task == "detection"
MISSING = "the file is missing"
OF_MISSING = "of images that are missing or unreadable"
# ~ endif
NUMBER = re.compile(r"\d+(\.\d*)?")
MAX_PRINTED = 3  # reasons; environment.json lists all


@dataclass
class LeftOut:
    """Files, annotations or other parts of a data set that are not used, for the same reason."""

    kind: str  # the counted things in the plural, such as "images"
    reason: str
    split: str  # "train", "val" or "test"; empty if they belong to no split
    first: str  # the file in which it occurred first
    count: int = 0


@dataclass
class Reading:
    """What was read of a data set, and what was left out. The reader of its format fills it.

    Attributes:
        images: the number of images that are used, by split.
        objects: the number of annotated objects that are used, by split and class.
        counted: what ``objects`` counts, in the plural.
        notes: sentences that the user must know, each with the file and the reason.
        # ~ if cookiecutter.task == "segmentation"
        sampled: further numbers by split, if only some of the files were opened to count them.
        # ~ endif
        new_splits: the splits that ``data.split`` makes, because the data have no images for val.
    """

    images: dict[str, int] = field(default_factory=dict)
    objects: dict[str, dict[str, int]] = field(default_factory=dict)
    counted: str = "objects"
    notes: list[str] = field(default_factory=list)
    # ~ if cookiecutter.task == "segmentation"
    sampled: dict[str, dict[str, Any]] = field(default_factory=dict)
    # ~ endif
    new_splits: Sequence[str] = ()
    _left_out: dict[tuple[str, str, str], LeftOut] = field(default_factory=dict)
    _listed: dict[Path, ListedFiles] = field(default_factory=dict)

    @property
    def left_out(self) -> list[LeftOut]:
        """What was left out, grouped by kind, reason and split."""
        return list(self._left_out.values())

    def listed(self, root: Path) -> ListedFiles:
        """List the files below a folder, once until ``add_unused_images`` has counted them."""
        if root not in self._listed:
            self._listed[root] = list_images(root)
        return self._listed[root]

    def leave_out(
        self, kind: str, reason: str, file: str | Path, *, split: str = "", count: int = 1
    ) -> None:
        """Count something that is left out, as ``LeftOut`` describes it."""
        part = LeftOut(kind, reason, split, str(file))
        self._left_out.setdefault((kind, reason, split), part).count += count

    def note(self, sentence: str) -> None:
        """Add a sentence that the user must know, unless it is there already."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def count(
        self, split: str, *, images: int, labels: Sequence[int], classes: Sequence[str]
    ) -> None:
        """Set the number of images of a split, and count its objects by class.

        ``labels`` has the class index of each object, without those that are ignored.
        """
        self.note_similar(classes)
        counts = np.bincount(np.array(labels, dtype=np.int64), minlength=len(classes)).tolist()
        self.images[split] = images
        self.objects[split] = dict(zip(classes, counts, strict=True))

    def note_similar(self, classes: Sequence[str]) -> None:
        """Note class names that may mean the same class, such as ``cat`` and ``Cat``."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for name in classes:
            letters = unicodedata.normalize("NFKC", name).casefold()
            shown = "".join(letter for letter in letters if letter.isprintable()).replace(" ", "")
            if NUMBER.fullmatch(shown):
                shown = str(float(shown))
            groups[shown].append(name)
        for names in groups.values():
            if len(names) > 1:
                self.note(
                    f"The classes {' and '.join(names)} differ in case, spaces, invisible "
                    "characters or the form of a number only. If they are the same class, give it "
                    "a single name in the data."
                )

    # ~ if cookiecutter.task == "segmentation" or (cookiecutter.task == "detection" and cookiecutter.scope == "complete")
    def note_shared(self, files: Iterable[tuple[str, str | Path]]) -> None:
        """Note images that share an annotation file, from pairs of that file and an image."""
        first: dict[str, str | Path] = {}
        shared: dict[str, set[str]] = {}
        for file, image in files:
            other = first.setdefault(file, image)
            if other != image:
                shared.setdefault(file, {str(other)}).add(str(image))
        for file, images in [*shared.items()][:1]:
            self.note(
                f"{', '.join(sorted(images))} share the annotation file {file}. "
                f"Number of shared files: {len(shared)}. "
                "Rename the images, or remove all but one of each."
            )

    # ~ endif
    def add_unused_images(self, root: Path, used: Iterable[str | Path], reason: str) -> None:
        """Count the images below ``root`` that are not among the used ones, for this reason.

        Images of formats that are not read, hidden files and broken links are counted, too.
        """
        listed = self.listed(root)
        self._listed.clear()  # the names of all files need much memory
        known = {*map(str, used)}
        unused = [path for path in listed.images if path not in known]
        if len(known) + len(unused) > len(listed.images):
            # Paths that are written in another way, such as photos/../photos/a.jpg
            known.update(
                os.path.join(root, os.path.relpath(path, root))  # noqa: PTH118 - a string
                for path in known.difference(listed.images)
            )
        for link in listed.repeated[:1]:
            if again := len(known) - len({*map(os.path.realpath, known)}):
                self.note(
                    f"Files that are used twice: {again}, since links such as {link} lead to the "
                    "same folder. In different splits, they make the scores too good."
                )
        for path in unused:
            if path not in known:
                self.leave_out("images", reason, path)
        for path in listed.unsupported:
            if path not in known:
                suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - faster than a Path
                kind, of_kind = ("images", f"{suffix} is") if suffix else ("files", "no suffix,")
                self.leave_out(kind, f"{of_kind} not read", path)
        for path in listed.repeated:
            self.leave_out("links", "to folders that are listed already, or around them", path)
        for path in listed.skipped:
            self.leave_out("files or folders", "hidden, or a link to nothing", path)

    def lines(self) -> list[str]:
        """Return two lines, what was read and what was left out, and a line for each note."""
        splits = []
        for split in (split for split in SPLIT_NAMES if split in self.images):
            splits.append(f"{split} {number_of(self.images[split], 'images')}")
            if split in self.objects and self.counted != "images":
                objects = sum(self.objects[split].values())
                splits[-1] += f" with {number_of(objects, self.counted)}"
        totals: dict[tuple[str, str], LeftOut] = {}
        for part in self.left_out:
            known = totals.setdefault((part.kind, part.reason), replace(part, count=0))
            known.count += part.count
        parts = [
            f"{number_of(part.count, part.kind)} ({part.reason}; the first is {part.first})"
            for part in list(totals.values())[:MAX_PRINTED]
        ]
        if len(totals) > MAX_PRINTED:
            more = number_of(len(totals) - MAX_PRINTED, "more reasons")
            parts.append(f"and for {more}, see environment.json")
        left_out = ", ".join(parts) or "nothing"
        return [f"Data: {', '.join(splits)}.", f"Left out: {left_out}.", *self.notes]


def number_of(count: int, plural: str) -> str:
    """Return a number with its noun, such as ``1 image`` or ``2 files or folders``."""
    if count == 1:
        plural = re.sub(r"(?<=ss)es\b|s\b", "", plural.replace("ies", "ys"))
    return f"{count} {plural}"


def report_reading(reading: Reading, run: Run) -> None:
    """Log the summary in two lines and a line for each note, and write it to environment.json."""
    if not is_first():
        return
    for line in reading.lines():
        log.info(line)
    file = run.folder / "environment.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["data"] = {
        "images": reading.images,
        f"{reading.counted}_by_class": reading.objects,
        "left_out": [asdict(part) for part in reading.left_out],
        "notes": reading.notes,
    }
    # ~ if cookiecutter.task == "segmentation"
    if reading.sampled:
        content["data"]["sampled"] = reading.sampled
    # ~ endif
    write_json(file, content)
