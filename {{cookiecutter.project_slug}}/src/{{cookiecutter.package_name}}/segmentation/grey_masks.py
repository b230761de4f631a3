"""Decide what the grey values of masks mean, and report classes that no training mask holds."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from PIL import Image

from ..data.reading import Reading
from ..errors import UsageError
from ..settings.data import PixelFormat
from .masks import IGNORE_INDEX, Classes, mask_values

SAMPLED = 200  # masks that are looked at; fewer if these show all classes


def with_greys(classes: Classes, paths: Sequence[str], reading: Reading) -> Classes:
    """Return the classes with ``greys``, as up to ``SAMPLED`` training masks show their meaning.

    The grey values are the ids, and 255 is ignored, with two exceptions: values that are no ids,
    but grey colours of ``classes.txt``, and masks of two classes that hold 0 and 255 only. A later
    mask with other values is refused by ``read_mask``. Looking at a mask takes as long as decoding
    it.

    Raises:
        UsageError: if 255 can mean several classes, or all masks together hold a single class.
    """
    count = len(classes.names)
    sampled = np.linspace(0, len(paths) - 1, min(SAMPLED, len(paths))).astype(int)
    grey, colored = set[int](), set[int]()
    for index in sampled:
        with suppress(OSError, SyntaxError, ValueError), Image.open(paths[index]) as file:
            if file.width * file.height <= PixelFormat().max_pixels:
                values, are_colors = mask_values(file, classes)
                (colored if are_colors else grey).update(np.unique(values).tolist())
        ids = grey | {classes.colors.get(color, -1) for color in colored}
        if ids >= {*range(count)}:
            return classes  # the values are ids, and each class occurs
    looked = f"{len(sampled)} of {len(paths)} training masks"
    classes = replace(classes, greys=_meaning(grey, classes, looked, reading))
    known = {IGNORE_INDEX: IGNORE_INDEX, **(classes.greys or {i: i for i in range(count)})}
    ids = {known.get(value, -1) for value in grey}
    ids |= {classes.colors.get(color, -1) for color in colored}
    ids.discard(IGNORE_INDEX)
    absent = [name for index, name in enumerate(classes.names) if index not in ids]
    if len(absent) >= count - 1 and -1 not in ids and len(sampled) == len(paths):
        raise UsageError(
            f"The {len(paths)} training masks hold no pixel of {', '.join(absent)}, so nothing can "
            f"be learned. The first mask is {paths[0]}.\n"
            f"Their values are {sorted(grey)[:8]}; line 1 of classes.txt names the value 0."
        )
    if absent:
        reading.note(f"{looked} have no pixel of {', '.join(absent)}.")
    return classes


def _meaning(
    grey: set[int], classes: Classes, looked: str, reading: Reading
) -> dict[int, int] | None:
    """Return the id of each grey value, or None if the values are the ids."""
    named = {color & 255: index for color, index in classes.colors.items() if _is_grey(color)}
    ids = {*range(1, len(classes.names))}
    if grey & ids or not grey - {0}:
        return None
    if grey <= named.keys():
        return named
    if grey - {0, IGNORE_INDEX}:
        return named if grey <= {*named, IGNORE_INDEX} else None  # read_mask reports the values
    if len(classes.names) > 2:
        raise UsageError(
            f"{looked} hold the values 0 and 255 only, but classes.txt names "
            f"{len(classes.names)} classes.\nThe value of a pixel is the id of its class, and 255 "
            "is ignored. If 255 stands for white, add it to classes.txt: object 255 255 255"
        )
    reading.note(f"{looked} hold the values 0 and 255 only: 255 is read as {classes.names[1]}.")
    return {0: 0, IGNORE_INDEX: 1}


def _is_grey(color: int) -> bool:
    return color == (color & 255) * 0x010101
