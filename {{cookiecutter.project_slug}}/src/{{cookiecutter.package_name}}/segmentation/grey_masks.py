"""Decide what the grey values of masks mean, and report classes that no mask holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from ..data.image_formats import orientation_of
from ..data.reading_summary import Reading
from ..errors import UsageError
from ..settings.data import PixelFormat
from .mask_folders import Pair
from .masks import AMBIGUOUS, IGNORE_INDEX, IGNORED_COLOR, Classes, mask_values

SAMPLED = 200  # masks of a split that are looked at; of several objects, fewer if all occur


@dataclass
class SampledMasks:
    """The values of the masks of a split that were looked at."""

    split: str
    total: int  # masks of the split
    looked: int = 0  # masks that were decoded
    grey: Counter[int] = field(default_factory=Counter)  # number of pixels by value
    colored: Counter[int] = field(default_factory=Counter)  # and by colour
    first: str = ""  # the first mask that holds 255
    white: list[str] = field(default_factory=list)  # masks of 255, without an id except 0
    mixed: bool = False  # whether a mask holds 255 and an id other than 0
    ambiguous: list[str] = field(default_factory=list)  # masks that may lack an orientation
    lossy: list[str] = field(default_factory=list)  # masks whose format changes values
    indexed: bool = False  # whether the indices of a palette are the ids

    def __str__(self) -> str:
        return f"{self.looked} of {self.total} masks of {self.split}"

    def pixels_by_id(self, classes: Classes) -> Counter[int]:
        """Return the number of pixels of each class id and of ``IGNORE_INDEX``; -1 if unknown."""
        known = {IGNORE_INDEX: IGNORE_INDEX, **(classes.greys or classes.ids)}
        counts = Counter[int]()
        for value, count in self.grey.items():
            counts[known.get(value, -1)] += count
        colors = {IGNORED_COLOR: IGNORE_INDEX, **classes.colors}
        for color, count in self.colored.items():
            counts[colors.get(color, -1)] += count
        return counts


def with_greys(
    classes: Classes, pairs: Mapping[str, Sequence[Pair]], reading: Reading
) -> dict[str, Classes]:
    """Return the classes with ``greys`` for each split, as some of its masks show their meaning.

    The grey values are the ids, and 255 is ignored, with two exceptions: values that are not ids,
    but grey colours of ``classes.txt``, and masks of two classes that hold 0 and 255 only. A later
    mask with other values is refused by ``read_mask``. Looking at a mask takes as long as decoding
    it.

    Args:
        classes: the names and colours of the classes.
        pairs: the images and masks by split; they are looked at once if val is tested, too.
        reading: notes the meaning of 255, and gets the number of pixels by class.

    Raises:
        UsageError: if 255 can mean several classes, or all training masks hold a single class.
    """
    splits = [split for split in pairs if split != "test" or pairs["test"] != pairs["val"]]
    seen = {split: _look_at(pairs[split], classes, split) for split in splits}
    mixed = any(masks.mixed for masks in seen.values())
    by_split: dict[str, Classes] = {}
    for split, masks in seen.items():
        values = {*masks.grey} - {0}
        if split == "train" or (values and len(classes.names) == 2):
            greys = _meaning(masks, classes, reading, mixed=mixed)
        else:
            greys = by_split["train"].greys
        by_split[split] = replace(classes, greys=greys)
        _check_present(masks, by_split[split], reading)
        if masks.ambiguous:
            reading.note(
                f"{len(masks.ambiguous)} of {masks.looked} masks of {split} belong to images that "
                f"are turned (Exif), such as {masks.ambiguous[0]}. They are read as they are "
                "stored: if they are for the unturned pixels, turn them like the images."
            )
        if masks.lossy:
            reading.note(
                f"{len(masks.lossy)} of {masks.looked} masks of {split} are JPEG files, such as "
                f"{masks.lossy[0]}. JPEG changes values, most at edges, so that pixels may get "
                "another class. Make the masks anew as PNG."
            )
        if masks.indexed:
            _note_palettes(pairs[split], masks, 3 * len(classes.names), reading)
    return {"test": by_split.get("val", by_split["train"]), **by_split}


def _look_at(pairs: Sequence[Pair], classes: Classes, split: str) -> SampledMasks:
    count = len(classes.names)
    seen = SampledMasks(split, len(pairs))
    for image, path in _sampled(pairs):
        # A damaged file is reported by the data loader.
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
            if file.width * file.height > PixelFormat().max_pixels:
                continue
            turned = _orientation(image)
            if turned > 1 and (turned < 5 or file.width == file.height):
                seen.ambiguous += [path] if orientation_of(file) == 1 else []
            values, are_colors = _values_of(file, classes)
            seen.looked += 1
            seen.lossy += [path] if file.format in {"JPEG", "MPO"} else []
            seen.indexed |= file.mode == "P" and not are_colors
            (seen.colored if are_colors else seen.grey).update(values)
            if (IGNORED_COLOR if are_colors else IGNORE_INDEX) in values:
                seen.first = seen.first or path
            if IGNORE_INDEX in values and not are_colors:
                has_ids = bool(values.keys() & {*range(1, count)})
                seen.mixed |= has_ids
                if not has_ids:
                    seen.white.append(path)
        # Of two classes, 255 may be ignored in some masks and an object in others.
        if count > 2 and seen.pixels_by_id(classes).keys() >= {*range(count)}:
            break
    return seen


def _sampled(pairs: Sequence[Pair]) -> list[Pair]:
    places = np.linspace(0, len(pairs) - 1, min(SAMPLED, len(pairs))).astype(int)
    return [pairs[index] for index in places]


def _note_palettes(
    pairs: Sequence[Pair], masks: SampledMasks, length: int, reading: Reading
) -> None:
    """Note masks of other palettes, whose indices may stand for other classes.

    Programs that make files smaller give each mask a palette of its own.

    Args:
        pairs: the images and masks of a split.
        masks: the values of these masks.
        length: how many bytes of the palettes have the colours of the classes.
        reading: gets the note.
    """
    known: list[tuple[bytes, str]] = []
    for _, path in _sampled(pairs):
        with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
            if file.mode == "P" and file.palette is not None:
                colors = bytes(file.palette.palette)[:length]
                for other, first in known:
                    if not (colors.startswith(other) or other.startswith(colors)):
                        reading.note(
                            f"Masks of {masks.split} have different palettes, such as {first} and "
                            f"{path}. Their indices are read as ids. If their colours tell the "
                            "classes, add them to classes.txt: road 128 64 128"
                        )
                        return
                known.append((colors, path))


def _orientation(path: str) -> int:
    with suppress(OSError, SyntaxError, ValueError), Image.open(path) as file:
        return orientation_of(file)
    return 1


def _values_of(file: Image.Image, classes: Classes) -> tuple[dict[int, int], bool]:
    """Return the number of pixels by value, and whether the values are colours."""
    if file.mode == "L":  # ten times as fast as for other modes
        return {value: count for value, count in enumerate(file.histogram()) if count}, False
    values, are_colors = mask_values(file, classes)
    present, counts = np.unique(values, return_counts=True)
    return dict(zip(present.tolist(), counts.tolist(), strict=True)), are_colors


def _check_present(masks: SampledMasks, classes: Classes, reading: Reading) -> None:
    """Count the pixels by class, and report classes without any."""
    counts = masks.pixels_by_id(classes)
    by_name = {name: counts[index] for index, name in enumerate(classes.names)}
    ignored = counts[IGNORE_INDEX]
    pixels = {**by_name, "ignored": ignored}
    reading.sampled[masks.split] = {"masks": masks.looked, "of": masks.total, "pixels": pixels}
    if ignored:
        reason = "of id 255 in the masks that are decoded at the start"
        reading.leave_out("pixels", reason, masks.first, split=masks.split, count=ignored)
    absent = [name for name, count in by_name.items() if not count]
    few = len(absent) >= len(classes.names) - 1 and not counts[-1]
    if few and masks.split == "train" and masks.looked == masks.total:
        raise UsageError(
            f"{masks} hold no pixel of {', '.join(absent)}, so nothing can be learned.\n"
            f"Their values are {sorted(masks.grey)[:8]}; line 1 of classes.txt names the value 0."
        )
    if absent and masks.looked:
        reading.note(f"{masks} have no pixel of {', '.join(absent)}.")


def _meaning(
    masks: SampledMasks, classes: Classes, reading: Reading, *, mixed: bool
) -> dict[int, int] | None:
    """Return the id of each grey value, or None if the values are the ids.

    Args:
        masks: the masks of a split.
        classes: the names and colours of the classes.
        reading: notes the meaning of 255.
        mixed: whether a mask of any split holds 255 and an id other than 0: 255 is then ignored.
    """
    grey = {*masks.grey}
    named = {
        color & 255: index
        for color, index in classes.colors.items()
        if _is_grey(color) and index != AMBIGUOUS
    }
    if grey & {*range(1, len(classes.names))}:
        in_some = len(classes.names) == 2 and masks.white and not mixed
        return _white_in_some(masks, classes, named, reading) if in_some else None
    if grey <= named.keys() and grey - {0}:
        return named
    if grey - {0, IGNORE_INDEX}:
        return named if grey <= {*named, IGNORE_INDEX} else None  # read_mask reports the values
    if mixed or not grey - {0}:
        return None
    if len(classes.names) > 2:
        raise UsageError(
            f"{masks} hold the values 0 and 255 only, but classes.txt names "
            f"{len(classes.names)} classes.\nThe value of a pixel is the id of its class, and 255 "
            "is ignored. If 255 stands for white, add it to classes.txt: object 255 255 255"
        )
    reading.note(f"{masks} hold the values 0 and 255 only: 255 is read as {classes.names[1]}.")
    return {0: 0, IGNORE_INDEX: 1}


def _white_in_some(
    masks: SampledMasks, classes: Classes, named: Mapping[int, int], reading: Reading
) -> dict[int, int] | None:
    """Return the meaning of masks of 0 and 1, some of which hold 0 and 255 instead."""
    if IGNORE_INDEX in named:
        return {**classes.ids, IGNORE_INDEX: named[IGNORE_INDEX]}
    name = classes.names[1]
    reading.note(
        f"{len(masks.white)} of {masks.looked} masks of {masks.split} hold 0 and 255 only, such as "
        f"{masks.white[0]}, and the others 0 and 1: 255 is ignored. If it stands for {name}, add "
        f"it to classes.txt: {name} 255 255 255"
    )
    return None


def _is_grey(color: int) -> bool:
    return color == (color & 255) * 0x010101
