"""Decide what the grey values of masks mean, and report classes that no mask holds."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.image_formats import orientation_of
from ..data.reading_summary import Reading
from ..errors import UsageError
from ..settings.data import PixelFormat
from .mask_folders import Pair
from .masks import (
    AMBIGUOUS,
    COLOR,
    IGNORE_INDEX,
    IGNORED_COLOR,
    Classes,
    grey_bits,
    has_ids_as_indices,
    mask_values,
)

MAX_OPENED = 200  # masks of a split
ENOUGH_PIXELS = 20_000_000  # of a split, if all classes have been found in them
TURNED = (
    "belong to turned images (Exif), but are not turned, such as {}. They are read as they are "
    "stored: if need be, turn them like the images."
)
LOSSY = "are JPEG, WebP or the like, which changes values at edges, such as {}: save them as PNG."


@dataclass
class DecodedMasks:
    """The values in some masks of a split, from which their meaning is derived."""

    split: str
    total: int  # number of masks of the split
    opened: int = 0  # number of masks whose header was read, without too large ones
    decoded: int = 0  # number of masks that were decoded
    damaged: int = 0  # number of masks that cannot be decoded
    pixels: Counter[int] = field(default_factory=Counter)  # by value, as of mask_values
    first_ignored: str = ""  # the first mask that holds 255
    only_255: list[str] = field(default_factory=list)  # masks that hold 255 and no id except 0
    ids_and_255: bool = False  # whether a mask holds 255 and an id above 0
    doubtful: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __str__(self) -> str:
        damaged = f" ({self.damaged} cannot be read)" if self.damaged else ""
        return f"{self.decoded} of {self.total} masks of {self.split}{damaged}"

    @property
    def greys(self) -> set[int]:
        """The grey values that occur."""
        return {value for value in self.pixels if value < COLOR}

    def pixels_by_id(self, classes: Classes) -> Counter[int]:
        """Return the number of pixels of each class id and of ``IGNORE_INDEX``; -1 if unknown."""
        counts, ids = Counter[int](), classes.ids
        for value, count in self.pixels.items():
            counts[ids.get(value, AMBIGUOUS)] += count
        return counts


def with_greys(
    classes: Classes, pairs: Mapping[str, Sequence[Pair]], reading: Reading
) -> dict[str, Classes]:
    """Return the classes of each split with ``greys``, the meaning of the grey values in its masks.

    It is found in some masks of the split, which are decoded. The grey values are the ids, and 255
    is ignored, with two exceptions: values that are not ids, but grey colours of ``classes.txt``,
    and masks of two classes that hold 0 and 255 only. A later mask with other values is refused by
    ``read_mask``. The meaning of 255 is noted, and a UsageError is raised if it is unclear, or if
    the masks of train or of val hold a single class.
    """
    splits = [split for split in pairs if split != "test" or pairs["test"] != pairs["val"]]
    decoded = {split: _decode(pairs[split], classes, split) for split in splits}
    ids_and_255 = any(masks.ids_and_255 for masks in decoded.values())
    by_split: dict[str, Classes] = {}
    for split, masks in decoded.items():
        if split == "train" or (masks.greys - {0} and len(classes.names) == 2):
            greys = _ids_by_grey(masks, classes, reading, ids_and_255=ids_and_255)
        else:
            greys = by_split["train"].greys
        by_split[split] = replace(classes, greys=greys)
        _check_present(masks, by_split[split], reading)
        for text, paths in masks.doubtful.items():
            count = f"{len(paths)} of {masks.opened} masks of {split}"
            reading.note(f"{count} {text.format(paths[0])}")
        _note_palettes(pairs[split], split, classes, reading)
    return {"test": by_split.get("val", by_split["train"]), **by_split}


def _decode(pairs: Sequence[Pair], classes: Classes, split: str) -> DecodedMasks:
    seen, count = DecodedMasks(split, len(pairs)), len(classes.names)
    sample, skipped = _sample(pairs), 0
    for image, path in sample:
        # A damaged file is reported by the data loader.
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
            if file.width * file.height > PixelFormat().max_pixels:
                skipped += 1
                continue
            turned = _orientation(image)
            shape_tells = turned == 1 or (turned >= 5 and file.width != file.height)
            if not shape_tells and orientation_of(file) == 1:
                seen.doubtful[TURNED].append(path)
            seen.opened += 1
            lossless_webp = file.format == "WEBP" and b"VP8L" in Path(path).read_bytes()
            if file.format in {"AVIF", "HEIF", "JPEG", "MPO", "WEBP"} and not lossless_webp:
                seen.doubtful[LOSSY].append(path)
            # Of two classes, 255 may be ignored in some masks and an object in others.
            if (
                count > 2
                and seen.pixels.total() > ENOUGH_PIXELS
                and seen.pixels_by_id(classes).keys() >= {*range(count)}
            ):
                skipped += 1
                continue
            values = _pixels_by_value(file, classes)
            seen.decoded += 1
            seen.pixels.update(values)
            if values.keys() & {IGNORE_INDEX, IGNORED_COLOR}:
                seen.first_ignored = seen.first_ignored or path
            if IGNORE_INDEX in values:
                has_ids = bool(values.keys() & {*range(1, count)})
                seen.ids_and_255 |= has_ids
                seen.only_255 += [] if has_ids else [path]
    seen.damaged = len(sample) - seen.decoded - skipped
    return seen


def _sample(pairs: Sequence[Pair]) -> list[Pair]:
    """Return evenly spaced pairs, and the first mask of each kind of file."""
    places = np.linspace(0, len(pairs) - 1, min(MAX_OPENED, len(pairs))).astype(int).tolist()
    first: dict[str, int] = {}
    for index, (_, mask) in enumerate(pairs):
        first.setdefault(mask[mask.rfind(".") :], index)
    return [pairs[index] for index in sorted({*places, *first.values()})]


def _note_palettes(pairs: Sequence[Pair], split: str, classes: Classes, reading: Reading) -> None:
    """Note masks whose indices are ids, but whose palettes differ, as some programs write them."""
    found: dict[bytes, str] = {}
    for _, path in _sample(pairs):
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
            small = file.width * file.height <= PixelFormat().max_pixels
            if file.mode == "P" and file.palette and small and has_ids_as_indices(file, classes):
                found.setdefault(bytes(file.palette.palette)[: 3 * len(classes.names)], path)
    for (colors, first), (others, path) in combinations(found.items(), 2):
        if not (colors.startswith(others) or others.startswith(colors)):
            reading.note(
                f"Masks of {split} have different palettes, such as {first} and {path}. Their "
                "indices are ids; to use the colours, add them to classes.txt: road 128 64 128"
            )
            return


def _orientation(path: str) -> int:
    with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
        return orientation_of(file)
    return 1


def _pixels_by_value(file: Image.Image, classes: Classes) -> dict[int, int]:
    bits = grey_bits(file)
    if file.mode == "L" and bits == 8:  # ten times as fast as for other modes
        return {value: count for value, count in enumerate(file.histogram()) if count}
    present, counts = np.unique(mask_values(file, classes, bits), return_counts=True)
    return dict(zip(present.tolist(), counts.tolist(), strict=True))


def _check_present(masks: DecodedMasks, classes: Classes, reading: Reading) -> None:
    """Count the pixels by class, and report classes without any."""
    counts = masks.pixels_by_id(classes)
    by_name = {name: counts[index] for index, name in enumerate(classes.names)}
    pixels = {**by_name, "ignored": counts[IGNORE_INDEX]}
    reading.sampled[masks.split] = {"masks": masks.decoded, "of": masks.total, "pixels": pixels}
    if ignored := counts[IGNORE_INDEX]:
        reason = "of id 255 in the sample of masks that is decoded at the start"
        reading.leave_out("pixels", reason, masks.first_ignored, split=masks.split, count=ignored)
    absent = [name for name, count in by_name.items() if not count]
    one_class = len(absent) >= len(classes.names) - 1 and not counts[-1]
    all_tried = masks.decoded and masks.decoded + masks.damaged == masks.total
    if one_class and masks.split != "test" and all_tried:
        verb = "learned" if masks.split == "train" else "measured"
        raise UsageError(
            f"{masks} hold no pixel of {', '.join(absent)}, so nothing can be {verb}.\n"
            f"Their values are {sorted(masks.greys)[:8]}; line 1 of classes.txt names the value 0."
        )
    if absent and masks.decoded:
        reading.note(f"{masks} have no pixel of {', '.join(absent)}.")


def _ids_by_grey(
    masks: DecodedMasks, classes: Classes, reading: Reading, *, ids_and_255: bool
) -> dict[int, int] | None:
    """Return the id of each grey value in the masks of a split, or None if the values are the ids.

    With ``ids_and_255``, 255 is ignored, since a mask of any split holds it and an id above 0.
    """
    present, count = masks.greys, len(classes.names)
    listed = {
        color & 255: index
        for color, index in classes.colors.items()
        if color == (color & 255) * 0x010101 and index != AMBIGUOUS
    }
    if present & {*range(1, count)}:
        if count == 2 and masks.only_255 and not ids_and_255:
            if IGNORE_INDEX in listed:
                return {0: 0, 1: 1, IGNORE_INDEX: listed[IGNORE_INDEX]}
            name = classes.names[1]
            reading.note(
                f"{len(masks.only_255)} of {masks.decoded} masks of {masks.split} hold 0 and 255 "
                f"only, such as {masks.only_255[0]}, and the others 0 and 1: 255 is ignored. If it "
                f"stands for {name}, add it to classes.txt: {name} 255 255 255"
            )
        return None
    if present <= listed.keys() and present - {0}:
        return listed
    others = present - {0, IGNORE_INDEX}
    ignored = ids_and_255 or IGNORE_INDEX not in present
    if others - listed.keys() or (ignored and not others):
        return None  # read_mask reports values that have no meaning
    if others or IGNORE_INDEX in listed:  # a value 0 without a colour is id 0
        return {0: 0, **listed}
    if count > 2:
        raise UsageError(
            f"{masks} hold the values 0 and 255 only, but classes.txt names {count} classes.\n"
            "Values are ids, and 255 is ignored. If it is a class, add its colour to classes.txt: "
            "object 255 255 255"
        )
    reading.note(f"{masks} hold the values 0 and 255 only: 255 is read as {classes.names[1]}.")
    return {0: 0, IGNORE_INDEX: 1}
