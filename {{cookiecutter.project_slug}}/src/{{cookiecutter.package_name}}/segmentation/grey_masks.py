"""Decide what the grey values of masks mean, and report classes that no mask holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from ..data.reading_summary import Reading
from ..errors import UsageError
from ..settings.data import PixelFormat
from .check_masks import DAMAGED, MAX_OPENED, MaskCounts, MaskHeaders
from .class_list import AMBIGUOUS, COLOR, IGNORE_INDEX, IGNORED_COLOR, Classes
from .mask_folders import Pair
from .masks import mask_bits, mask_values

ENOUGH_PIXELS = 20_000_000  # of a split, if all classes have been found in them


@dataclass
class DecodedMasks(MaskCounts):
    """The values in some masks of a split, from which their meaning is derived."""

    pixels: Counter[int] = field(default_factory=Counter)  # by value, as of mask_values
    first_ignored: str = ""  # the first mask that holds 255
    only_255: list[str] = field(default_factory=list)  # masks that hold 255 and no id except 0
    ids_and_255: bool = False  # whether a mask holds 255 and an id above 0

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
    classes: Classes,
    pairs: Mapping[str, Sequence[Pair]],
    reading: Reading,
    *,
    max_pixels: int = PixelFormat().max_pixels,
) -> dict[str, Classes]:
    """Return the classes of each split with ``greys``, the meaning of the grey values in its masks.

    It is found in some masks of the split, which are decoded. The grey values are the ids, and 255
    is ignored, with two exceptions: values that are not ids, but grey colours of ``classes.txt``,
    and masks of two classes that hold 0 and 255, 128 or 65535 only. A later mask with other values
    is refused by ``read_mask``. The meaning of 255 is noted, and a UsageError is raised if it is
    unclear, or if the masks of train or of val hold a single class.
    """
    splits = [split for split in pairs if split != "test" or pairs["test"] != pairs["val"]]
    decoded = {split: _decode(pairs[split], classes, split, max_pixels) for split in splits}
    ids_and_255 = any(masks.ids_and_255 for masks in decoded.values())
    by_split: dict[str, Classes] = {}
    for split, masks in decoded.items():
        if split == "train" or (masks.greys - {0} and len(classes.names) == 2):
            greys = _ids_by_grey(masks, classes, reading, ids_and_255=ids_and_255)
        else:
            greys = by_split["train"].greys
        by_split[split] = replace(classes, greys=greys)
        _count_pixels(masks, by_split[split], reading)
        headers = MaskHeaders(classes, max_pixels)
        for pair in _sample(pairs[split]):
            headers.read(*pair)
        headers.note(split, reading)
    return {"test": by_split.get("val", by_split["train"]), **by_split}


def _decode(pairs: Sequence[Pair], classes: Classes, split: str, max_pixels: int) -> DecodedMasks:
    seen, count = DecodedMasks(split, len(pairs)), len(classes.names)
    sample, skipped = _sample(pairs), 0
    for _, path in sample:
        # Of two classes, 255 may be ignored in some masks and an object in others.
        if (
            count > 2
            and seen.pixels.total() > ENOUGH_PIXELS
            and seen.pixels_by_id(classes).keys() >= {*range(count)}
        ):
            skipped += 1
            continue
        with suppress(*DAMAGED), Image.open(path) as file:
            if file.width * file.height > max_pixels:
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


def _pixels_by_value(file: Image.Image, classes: Classes) -> dict[int, int]:
    bits = mask_bits(file)
    if file.mode == "L" and bits == 8:  # ten times as fast as for other modes
        return {value: count for value, count in enumerate(file.histogram()) if count}
    present, counts = np.unique(mask_values(file, classes, bits), return_counts=True)
    return dict(zip(present.tolist(), counts.tolist(), strict=True))


def _count_pixels(masks: DecodedMasks, classes: Classes, reading: Reading) -> None:
    """Count the pixels by class, and report classes without any."""
    counts = masks.pixels_by_id(classes)
    if ignored := counts[IGNORE_INDEX]:
        reason = "of id 255 in the sample of masks that is decoded at the start"
        reading.leave_out("pixels", reason, masks.first_ignored, split=masks.split, count=ignored)
    hint = f"Their values are {sorted(masks.greys)[:8]}; line 1 of classes.txt names value 0."
    masks.report(counts, classes, reading, hint=hint)


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
    is_other_white = count == 2 and not listed and present - {0} in ({128}, {65535})
    value = max(present) if is_other_white else IGNORE_INDEX
    others = present - {0, value}
    ignored = not is_other_white and (ids_and_255 or IGNORE_INDEX not in present)
    if others - listed.keys() or (ignored and not others):
        return None  # read_mask reports values that have no meaning
    if others or IGNORE_INDEX in listed:  # a value 0 without a colour is id 0
        return {0: 0, **listed}
    if count > 2:
        raise UsageError(
            f"{masks} hold the values 0 and 255 only, but classes.txt names {count} classes.\n"
            "Values are ids, and 255 is ignored. If it is a class, add its colour to classes.txt: "
            f"{classes.names[1]} 255 255 255"
        )
    name = classes.names[1]
    reading.note(f"{masks} hold the values 0 and {value} only: {value} is read as {name}.")
    return {0: 0, value: 1}
