"""Summary of reading a data set: how much was used, and how much was left out for which reason."""

import json
import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import filterfalse
from pathlib import Path

from ..run.atomic_files import write_json
from ..run.folder import Run
from ..run.processes import is_first
from .files import HEIF, SPLIT_NAMES, ListedFiles, list_images

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
    """What was read of a data set, and what was left out. The reader of its format fills it."""

    images: dict[str, int] = field(default_factory=dict)  # that are used, by split
    objects: dict[str, dict[str, int]] = field(default_factory=dict)  # by split and class
    counted: str = "objects"  # what ``objects`` counts, in the plural
    notes: list[str] = field(default_factory=list)  # for the user, each with file and reason
    # ~ if cookiecutter.task == "segmentation"
    # Numbers of decoded masks and of their pixels, by split; train decodes as many as it can.
    sampled: dict[str, dict[str, object]] = field(default_factory=dict)
    # ~ endif
    new_splits: Sequence[str] = ()  # that ``data.split`` makes of data without images for val
    _left_out: dict[tuple[str, str, str], LeftOut] = field(default_factory=dict)
    _listed: dict[Path, ListedFiles] = field(default_factory=dict)

    @property
    def left_out(self) -> list[LeftOut]:
        """What was left out, grouped by kind, reason and split."""
        return list(self._left_out.values())

    def listed(self, root: Path) -> ListedFiles:
        """List the files below a folder; kept until ``add_unused_images`` has used the list."""
        if root not in self._listed:
            self._listed[root] = list_images(root)
        return self._listed[root]

    def leave_out(
        self, kind: str, reason: str, file: str | Path, *, split: str = "", count: int = 1
    ) -> None:
        """Count something that is left out, as ``LeftOut`` describes it."""
        part = LeftOut(kind, reason, split, str(file))
        self._left_out.setdefault((kind, reason, split), part).count += count

    def note(self, sentence: str, *, split: str = "") -> None:
        """Add a sentence that the user must know, unless it is there already."""
        sentence = f"In {split}: {sentence}" if split else sentence
        if sentence not in self.notes:
            self.notes.append(sentence)

    def join_splits(self) -> None:
        """Remove the split from the notes and counts of train, whose images are yet to be split."""
        self.notes = [note.removeprefix("In train: ") for note in self.notes]
        for part in [part for part in self.left_out if part.split == "train"]:
            del self._left_out[part.kind, part.reason, part.split]
            self.leave_out(part.kind, part.reason, part.first, count=part.count)

    def count(
        self, split: str, *, images: int, labels: Sequence[int], classes: Sequence[str]
    ) -> None:
        """Set the number of images of a split, and count its objects, of these ``labels``."""
        self.note_similar(classes)
        counts = Counter(labels)
        self.images[split] = images
        self.objects[split] = {name: counts[index] for index, name in enumerate(classes)}

    def note_similar(self, classes: Sequence[str]) -> None:
        """Note class names that may mean the same class, such as ``cat`` and ``Cat``."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for name in classes:
            letters = unicodedata.normalize("NFKC", name).casefold()
            shown = "".join(filter(str.isprintable, letters)).replace(" ", "")
            groups[str(float(shown)) if NUMBER.fullmatch(shown) else shown].append(name)
        for names in groups.values():
            if len(names) > 1:
                self.note(
                    f"The classes {' and '.join(names)} differ in case, spaces, invisible "
                    "characters or the form of a number only. If they are the same, rename one."
                )

    # ~ if cookiecutter.task == "segmentation" or (cookiecutter.task == "detection" and cookiecutter.scope == "complete")
    def note_shared(self, files: Iterable[tuple[str, str | Path]]) -> None:
        """Note images that share an annotation file, from pairs of that file and an image."""
        pairs = {(file, str(image)) for file, image in files}
        counts = Counter(file for file, _ in pairs)
        if shared := sorted(file for file, count in counts.items() if count > 1):
            images = sorted(image for file, image in pairs if file == shared[0])
            self.note(
                f"{', '.join(images)} share the annotation file {shared[0]}. Number of shared "
                f"files: {len(shared)}. Rename the images, or remove all but one of each."
            )

    # ~ endif
    def add_unused_images(self, root: Path, used: Iterable[str | Path], reason: str) -> None:
        """Count the images below ``root`` that are not among the used ones, for this reason.

        Images of formats that are not read, hidden files and broken links are counted, too.
        """
        listed = self.listed(root)
        self._listed.clear()  # the names of all files need much memory
        known = {*map(str, used)}
        unused = [*filterfalse(known.__contains__, listed.images)]
        if len(known) + len(unused) > len(listed.images):
            known |= {  # paths that are written in another way, such as photos/../photos/a.jpg
                os.path.join(root, os.path.relpath(path, root))  # noqa: PTH118 - a string
                for path in known.difference(listed.images)
            }
            unused = [*filterfalse(known.__contains__, unused)]
        for link in listed.repeated[:1]:
            if again := len(known) - len({*map(os.path.realpath, known)}):
                self.note(
                    f"Files that are used twice: {again}, since links such as {link} lead to the "
                    "same folder. In different splits, they make the scores too good."
                )
        for path in unused:
            self.leave_out("images", reason, path)
        for path in listed.unsupported:
            if path not in known:
                suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - faster than a Path
                kind, of_kind = ("images", f"{suffix} is") if suffix else ("files", "no suffix,")
                fix = ": uv add pillow-heif" if suffix in HEIF else ""
                self.leave_out(kind, f"{of_kind} not read{fix}", path)
        for path in listed.repeated:
            self.leave_out("links", "to folders that are listed already, or around them", path)
        for path in listed.skipped:
            self.leave_out("files or folders", "hidden, or a link to nothing", path)

    def lines(self) -> list[str]:
        """Return two lines, what was read and what was left out, and a line for each note."""
        splits = []
        for split in filter(self.images.__contains__, SPLIT_NAMES):
            splits.append(f"{split} {number_of(self.images[split], 'images')}")
            if split in self.objects and self.counted != "images":
                objects = sum(self.objects[split].values())
                splits[-1] += f" with {number_of(objects, self.counted)}"
        counts: Counter[tuple[str, str]] = Counter()
        for part in self.left_out:
            counts[part.kind, part.reason] += part.count
        first = {(part.kind, part.reason): part.first for part in reversed(self.left_out)}
        parts = [
            f"{number_of(count, kind)} ({reason}; the first is {first[kind, reason]})"
            for (kind, reason), count in counts.items()
        ]
        if len(parts) > MAX_PRINTED:
            more = number_of(len(parts) - MAX_PRINTED, "more reasons")
            parts[MAX_PRINTED:] = [f"and for {more}, see environment.json"]
        left_out = ", ".join(parts) or "nothing"
        return [f"Data: {', '.join(splits)}.", f"Left out: {left_out}.", *self.notes]


def number_of(count: int, plural: str) -> str:
    """Return a number with its noun, such as ``1 image`` or ``2 files or folders``."""
    if count == 1:
        plural = re.sub(r"(?<=ss)es\b|s\b", "", plural.replace("ies", "ys"))
    return f"{count} {plural}"


def report_reading(reading: Reading, run: Run) -> None:
    """Log the summary in two lines and a line for each note, and write it to environment.json."""
    if is_first():
        for line in reading.lines():
            log.info(line)
    write_reading(reading, run)


def write_reading(reading: Reading, run: Run) -> None:
    """Write what was read, and all that was left out, to environment.json."""
    if not is_first():
        return
    file = run.folder / "environment.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["data"] = {
        "images": reading.images,
        "left_out": [asdict(part) for part in reading.left_out],
        "notes": reading.notes,
    }
    if reading.objects:
        content["data"][f"{reading.counted}_by_class"] = reading.objects
    # ~ if cookiecutter.task == "segmentation"
    if reading.sampled:
        content["data"]["sampled"] = reading.sampled
    # ~ endif
    write_json(file, content)
