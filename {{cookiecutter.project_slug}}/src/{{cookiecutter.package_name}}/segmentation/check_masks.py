"""Find masks that may not mean what they are read as, by their headers and by their pixels."""

import re
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..data.check_datasets import MAX_NAMES
from ..data.image_formats import orientation_of
from ..data.images import DecodedImage, Unreadable, UnreadableImageError
from ..data.reading_summary import Reading
from ..errors import UsageError
from .class_list import AMBIGUOUS, IGNORE_INDEX, Classes
from .masks import has_ids_as_indices

MAX_OPENED = 200  # masks of a split that are opened when the data are read; training opens all
DAMAGED = (OSError, SyntaxError, ValueError)  # errors of Pillow; such a file is reported elsewhere
LOSSY = "the mask is a JPEG, WebP or similar file, which changes values at edges: save it as PNG"
WHITE_AND_BLACK = b"\xff\xff\xff\0\0\0"  # a palette
BLACK_LATER = (
    "the palette has black, but not as its first colour, and the indices are read as ids: if black "
    "is the background, add the colours to classes.txt: road 128 64 128"
)
TURNED = (
    "the image is turned (Exif), but the mask is not, and is read as it is stored: if need be, "
    "turn it like the image"
)


def _orientation(path: str) -> int:
    with suppress(*DAMAGED), Image.open(path) as file:
        return orientation_of(file)
    return 1


def _has_black_later(palette: bytes, classes: int) -> bool:
    """Return whether a palette, [N] of red, green and blue, has black at an id above 0 only."""
    colors = [palette[start : start + 3] for start in range(0, 3 * classes, 3)]
    return colors[0] != b"\0\0\0" and b"\0\0\0" in colors


class MaskHeaders:
    """What the headers of the masks of a split say; the masks are not decoded."""

    def __init__(self, classes: Classes, max_pixels: int) -> None:
        self.classes = classes
        self.max_pixels = max_pixels  # of a mask that may be decoded
        self.masks: list[str] = []  # whose header was read
        self.doubtful: defaultdict[str, list[str]] = defaultdict(list)  # masks by the reason
        self.palettes: dict[bytes, list[str]] = {}  # masks whose indices are ids, by the palette

    def read(self, image: str, mask: str) -> str:
        """Read the header of a mask, and return why its values may be wrong, or an empty text."""
        reason = ""
        with suppress(*DAMAGED), Image.open(mask) as file:
            turned = _orientation(image)
            shape_tells = turned == 1 or (turned >= 5 and file.width != file.height)
            if not shape_tells and orientation_of(file) == 1:
                reason = TURNED
            if file.format in {"AVIF", "HEIF", "JPEG", "MPO", "WEBP"} and not (
                file.format == "WEBP" and b"VP8L" in Path(mask).read_bytes()  # without loss
            ):
                reason = LOSSY
            if file.mode == "P" and file.palette:
                colors = bytes(file.palette.palette)
                if len(self.classes.names) == 2 and colors.startswith(WHITE_AND_BLACK):
                    colors = WHITE_AND_BLACK[::-1]  # is read by its colours
                small = file.width * file.height <= self.max_pixels
                # Asking for the colours decodes the file, so it is done once for each palette.
                if colors in self.palettes or (small and has_ids_as_indices(file, self.classes)):
                    self.palettes.setdefault(colors, []).append(mask)
                    if _has_black_later(colors, len(self.classes.names)):
                        reason = BLACK_LATER
            self.masks.append(mask)
        if reason:
            self.doubtful[reason].append(mask)
        return reason

    def note(self, split: str, reading: Reading) -> None:
        """Note the masks whose values may be wrong, and palettes that differ."""
        if conflict := self.conflict():
            first, other = conflict
            reading.note(
                f"Masks of {split} have different palettes, such as {first} and {other}. Their "
                "indices are ids; to use the colours, add them to classes.txt: road 128 64 128"
            )
        for reason, masks in self.doubtful.items():
            count = f"{len(masks)} of {len(self.masks)} masks of {split}"
            reading.note(f"{count}, such as {min(masks)}: {reason}.")

    def conflict(self) -> tuple[str, str] | None:
        """Return two masks whose palettes have different colours for the ids of the classes."""
        length = 3 * len(self.classes.names)
        by_mask = sorted((min(masks), colors[:length]) for colors, masks in self.palettes.items())
        for (first, colors), (other, others) in combinations(by_mask, 2):
            if not (colors.startswith(others) or others.startswith(colors)):
                return first, other
        return None


@dataclass
class MaskCounts:
    """How many masks of a split were decoded."""

    split: str
    total: int  # number of masks of the split
    decoded: int = 0
    damaged: int = 0  # number of masks that cannot be decoded

    def __str__(self) -> str:
        damaged = f" ({self.damaged} cannot be read)" if self.damaged else ""
        return f"{self.decoded} of {self.total} masks of {self.split}{damaged}"

    def report(
        self, pixels: Counter[int], classes: Classes, reading: Reading, *, hint: str
    ) -> None:
        """Store the number of pixels of each id in the decoded masks; report classes without any.

        Raises:
            UsageError: if all masks of train or of val that can be read hold a single class.
        """
        by_name = {name: pixels[index] for index, name in enumerate(classes.names)}
        counts = {**by_name, "ignored": pixels[IGNORE_INDEX]}
        reading.sampled[self.split] = {"masks": self.decoded, "of": self.total, "pixels": counts}
        absent = [name for name, count in by_name.items() if not count]
        if not absent or not self.decoded:
            return
        names = ", ".join(absent[:MAX_NAMES])
        names += f" and {len(absent) - MAX_NAMES} more" if len(absent) > MAX_NAMES else ""
        one_class = len(absent) >= len(classes.names) - 1 and not pixels[AMBIGUOUS]
        if one_class and self.split != "test" and self.decoded + self.damaged == self.total:
            verb = "learned" if self.split == "train" else "measured"
            raise UsageError(f"{self} hold no pixel of {names}, so nothing can be {verb}.\n{hint}")
        reading.note(f"{self} have no pixel of {names}.")


class MaskCheck:
    """The headers and the pixels of the masks of a split, gathered as all images are read."""

    def __init__(self, split: str, dataset: Any, max_pixels: int) -> None:
        self.split = split
        self.dataset = dataset  # whose masks are files
        self.headers = MaskHeaders(dataset.masks.classes, max_pixels)
        self.total = len(dataset.masks.paths)  # number of masks of the split
        self.whole = dataset.names is dataset.paths  # files are read as a whole, not as tiles
        self.pixels: list[np.ndarray] = []  # by id, of each decoded mask
        self.ignoring: list[str] = []  # masks with pixels of id 255
        self.damaged: list[str] = []

    def read(self, index: int, image: str, mask: str) -> DecodedImage | Unreadable:
        """Read an image and its mask, and count its pixels; any thread may call this."""
        self.headers.read(image, mask)
        try:
            decoded: DecodedImage = self.dataset.images[index]
        except UnreadableImageError as error:
            self.damaged.append(mask)
            return error.unreadable
        if self.whole and decoded.parts[1].shape[1:] == decoded.size:  # not shrunk by the cache
            ids = decoded.parts[1].numpy().ravel()
            counts = np.bincount(ids, minlength=IGNORE_INDEX + 1)
            self.pixels.append(counts)
            self.ignoring += [mask] if counts[IGNORE_INDEX] else []
        return decoded

    def report(self, reading: Reading) -> None:
        """Report what the masks that are decoded at the start, a sample, have not shown.

        Raises:
            UsageError: if all masks of train or of val that can be read hold a single class.
        """
        if len(self.headers.masks) > MAX_OPENED:  # more than the sample, whose notes go
            self._drop_notes(
                reading, r"(\d+ of \d+ m|M)asks of {}(, such as .*: | have different )"
            )
            self.headers.note(self.split, reading)
        known = {part.split for part in reading.left_out if part.kind == "pixels"}
        if self.ignoring and self.split not in known:
            name = self.headers.classes.names[-1]
            reading.note(
                f"{len(self.ignoring)} of {self.total} masks of {self.split}, such as "
                f"{min(self.ignoring)}, have pixels of id 255, which are ignored. If it stands for "
                f"a class, such as {name}, add its colour to classes.txt: {name} 255 255 255"
            )
        masks = MaskCounts(self.split, self.total, len(self.pixels), len(self.damaged))
        if masks.decoded + masks.damaged == self.total or masks.decoded > MAX_OPENED:
            counts = Counter(dict(enumerate(np.sum(self.pixels, axis=0).tolist())))
            self.pixels.clear()  # the check remains during the training
            self._drop_notes(reading, r"\d+ of \d+ masks of {}( \(.*\))? have no pixel of ")
            hint = "Repair the images that cannot be read, or add others."
            masks.report(counts, self.headers.classes, reading, hint=hint)

    def _drop_notes(self, reading: Reading, pattern: str) -> None:
        start = re.compile(pattern.format(self.split))
        reading.notes = [note for note in reading.notes if not start.match(note)]
