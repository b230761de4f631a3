"""Find the range of the values of a data set whose images have more than 8 bits."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import UsageError
from ..settings.data import PixelFormat
from ..settings.schema import Settings
from .datamodule import Datasets
from .image_formats import TOLERANCE, UNREADABLE, opened
from .reading_summary import number_of

SettingsT = TypeVar("SettingsT", bound=Settings)
NO_DATA = 1e30  # larger numbers stand for pixels that were not measured
MAX_READ = 100  # training images from whose values the range is estimated
OUTLYING = 999  # an extreme value that is so large, or its negative, may be no measurement


class Extent(NamedTuple):
    """What up to ``MAX_READ`` images have; without more than 8 bits, ``low`` exceeds ``high``."""

    low: float  # the smallest value of more than 8 bits
    high: float
    whole: bool  # whether some of them are whole numbers
    small: list[str]  # the images of 8 bits
    large: list[str]  # the others
    outliers: dict[float, str]  # values that are no part of it, and an image of each


def with_value_range(settings: SettingsT, datasets: Datasets) -> SettingsT:
    """Return the settings with ``data.value_range``, and make the data sets use it.

    If it is null, it is looked for in training images, so that training, validation, test and
    every later command with the checkpoint share one scale. Splits whose values do not fit it, and
    images of 8 bits among others, are noted.
    """
    count, pixels, reading = len(datasets.train), settings.data.pixels, datasets.reading
    same = np.array_equal(datasets.val.paths, datasets.test.paths)
    extents = {"train": extent_of(datasets.train.paths, pixels)}
    bounds = settings.data.value_range or range_of(extents["train"])
    if bounds is None:
        return settings
    for split in ("val",) if same else ("val", "test"):
        extents[split] = extent_of(getattr(datasets, split).paths, pixels)
    if settings.data.value_range is None:
        reading.note(
            f"data.value_range=[{bounds[0]:g},{bounds[1]:g}], as found in "
            f"{min(MAX_READ, count)} of {number_of(count, 'training images')}: these values become "
            "0 and 255, and values beyond them are cut off. Set it if you know better bounds."
        )
        outliers = {**extents["val"].outliers, **extents["train"].outliers}
        for value in [value for value in outliers if not bounds[0] <= value <= bounds[1]]:
            reading.note(
                f"The value {value:g} in {outliers[value]} is far from all others, so it is taken "
                "for missing or defective pixels and cut off. If it is a measurement, set "
                "data.value_range."
            )
    for split, (low, high, *_) in extents.items():
        tenth = (bounds[1] - bounds[0]) / 10
        if low < bounds[0] - tenth or high > bounds[1] + tenth or low <= high < bounds[0] + tenth:
            reading.note(
                f"The values of {split} are from {low:g} to {high:g}, which does not fit "
                f"data.value_range=[{bounds[0]:g},{bounds[1]:g}]: its images become too bright or "
                "too dark, unless this is intended. Set bounds that fit all images; these must be "
                "of the same kind of camera and unit."
            )
    small = [path for extent in extents.values() for path in extent.small]
    large = [path for extent in extents.values() for path in extent.large]
    if small and large:
        reading.note(
            f"{len(small)} of {len(small) + len(large)} images that were looked at, such as "
            f"{small[0]}, have 8 bits and are used as they are, but the others, such as "
            f"{large[0]}, have more, and are scaled by data.value_range. Unless this is one scale, "
            "save all images in the same type."
        )
    if bounds == settings.data.value_range:
        return settings
    data = settings.data.model_copy(update={"value_range": bounds})
    for dataset in (datasets.train, datasets.val, datasets.test):
        # ~ if cookiecutter.task == "classification"
        dataset.images.pixels = data.pixels
        # ~ else
        files = getattr(dataset.images, "images", dataset.images)  # the first if these are tiles
        files.pixels = data.pixels
        # ~ endif
    return settings.model_copy(update={"data": data})


def range_of(extent: Extent) -> tuple[float, float] | None:
    """Return the range of the values of a data set of this extent.

    It is None for 8 bits, and for floats from 0 to 1. For whole numbers from 0, it is that of the
    fewest bits, such as 0 to 4095; otherwise, it is from the smallest to the largest value.
    """
    low, high, whole, *_ = extent
    if low > high or (not whole and low >= -TOLERANCE and high <= 1 + TOLERANCE):
        return None
    if whole and low >= 0:
        return 0.0, float(max(2 ** int(high).bit_length() - 1, 255))
    return (low, high) if low < high else None


def extent_of(paths: Sequence[str], pixels: PixelFormat) -> Extent:
    """Look at the values of up to ``MAX_READ`` images."""
    whole, units, ends = "", "", dict[float, str]()  # of each image: its two extremes at each end
    small, large = list[str](), list[str]()
    for index in np.linspace(0, len(paths) - 1, min(MAX_READ, len(paths))).astype(int):
        with suppress(*UNREADABLE), opened(str(paths[index]), pixels) as values:
            if not isinstance(values, np.ndarray) or values.dtype in (np.uint8, np.bool_):
                small.append(str(paths[index]))
                continue
            if values.dtype.kind not in "fiu":
                continue
            large.append(str(paths[index]))
            if pixels.channels == 3 and values.shape[2] in {2, 4}:
                values = values[..., :-1]  # without the opacity  # noqa: PLW2901
            numbers = values[np.abs(values) < np.float64(NO_DATA)]
            low, high = numbers.min(), numbers.max()
            second = numbers.min(where=numbers > low, initial=high)
            for end in (low, second, numbers.max(where=numbers < high, initial=low), high):
                ends.setdefault(float(end), str(paths[index]))
            if values.dtype.kind in "iu":
                whole = whole or str(paths[index])
            elif 0 < high <= 1 + TOLERANCE and low >= -TOLERANCE:
                units = units or str(paths[index])
    if whole and units:
        raise UsageError(
            f"{units} has numbers from 0 to 1, but {whole} whole numbers of more than 8 bits, so "
            "they have no common scale.\nSave all images in the same type."
        )
    rest = sorted(ends)
    outliers = {value: ends[value] for value in _take_outliers(rest)}
    low, high = (rest[0], rest[-1]) if rest else (np.inf, -np.inf)
    return Extent(low, high, bool(whole), small, large, outliers)


def _take_outliers(values: list[float]) -> list[float]:
    """Remove and return the first and last of sorted values, if they are far from all others.

    That is, farther than these from each other, as -9999 for missing data, or by three times this
    distance, as 65535 of a defective pixel among 14 bits.
    """
    outliers = list[float]()
    for end, near, times in ((0, 1, 1), (-1, -2, 3)):
        if len(values) > 2 and abs(values[end]) >= OUTLYING:
            gap, others = values[end] - values[near], values[near] - values[-1 - end]
            if abs(gap) > times * abs(others) > 0:
                outliers.append(values.pop(end))
    return outliers
