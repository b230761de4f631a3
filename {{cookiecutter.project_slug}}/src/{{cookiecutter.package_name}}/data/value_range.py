"""Find the range of the values of a data set whose images have more than 8 bits."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from ..errors import UsageError
from ..settings.data import PixelFormat
from ..settings.schema import Settings
from .datamodule import Datasets
from .image_formats import TOLERANCE, UNREADABLE, opened
from .reading_summary import number_of

SettingsT = TypeVar("SettingsT", bound=Settings)
MAX_READ = 100  # training images from whose values the range is estimated


def with_value_range(settings: SettingsT, datasets: Datasets) -> SettingsT:
    """Return the settings with ``data.value_range``, and make the data sets use it.

    If it is null, it is looked for in training images, so that training, validation, test and
    every later command with the checkpoint share one scale.
    """
    if settings.data.value_range is not None:
        return settings
    count = len(datasets.train)
    bounds = find_value_range(datasets.train.paths, settings.data.pixels)
    if bounds is None:
        return settings
    datasets.reading.note(
        f"data.value_range=[{bounds[0]:g},{bounds[1]:g}], as found in "
        f"{min(MAX_READ, count)} of {number_of(count, 'training images')}: these values "
        "become 0 and 255, and values beyond them are cut off. Set it if you know better bounds."
    )
    same = np.array_equal(datasets.val.paths, datasets.test.paths)
    for split in ("val",) if same else ("val", "test"):
        low, high, _ = _extent(getattr(datasets, split).paths, settings.data.pixels)
        tenth = (bounds[1] - bounds[0]) / 10
        if low < bounds[0] - tenth or high > bounds[1] + tenth or low <= high < bounds[0] + tenth:
            datasets.reading.note(
                f"The values of {split} are from {low:g} to {high:g}, which does not fit "
                "data.value_range: its images become too bright or too dark. Are they of another "
                "camera or unit?"
            )
    data = settings.data.model_copy(update={"value_range": bounds})
    for dataset in (datasets.train, datasets.val, datasets.test):
        # ~ if cookiecutter.task == "classification"
        dataset.images.pixels = data.pixels
        # ~ else
        files = getattr(dataset.images, "images", dataset.images)  # the first if these are tiles
        files.pixels = data.pixels
        # ~ endif
    return settings.model_copy(update={"data": data})


def find_value_range(paths: Sequence[str], pixels: PixelFormat) -> tuple[float, float] | None:
    """Look for the range of the values of a data set in up to ``MAX_READ`` of its images.

    It is None for 8 bits, and for floats from 0 to 1. For whole numbers from 0, it is that of the
    fewest bits, such as 0 to 4095; otherwise, it is from the smallest to the largest value.
    """
    low, high, whole = _extent(paths, pixels)
    if low > high or (not whole and low >= -TOLERANCE and high <= 1 + TOLERANCE):
        return None
    if whole and low >= 0:
        return 0.0, float(max(2 ** int(high).bit_length() - 1, 255))
    return (low, high) if low < high else None


def _extent(paths: Sequence[str], pixels: PixelFormat) -> tuple[float, float, bool]:
    """Return the smallest and the largest value of more than 8 bits in up to ``MAX_READ`` images.

    The third value is whether there are whole numbers. Without such images, the first exceeds the
    second.
    """
    low, high, whole, units = np.inf, -np.inf, "", ""
    for index in np.linspace(0, len(paths) - 1, min(MAX_READ, len(paths))).astype(int):
        with suppress(*UNREADABLE), opened(str(paths[index]), pixels) as values:
            if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
                continue
            if values.dtype == np.uint8:
                continue
            if pixels.channels == 3 and values.shape[2] in {2, 4}:
                values = values[..., :-1]  # without the opacity  # noqa: PLW2901
            numbers = values[np.isfinite(values)]
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
            if values.dtype.kind in "iu":
                whole = whole or str(paths[index])
            elif 0 < numbers.max() <= 1 + TOLERANCE and numbers.min() >= -TOLERANCE:
                units = units or str(paths[index])
    if whole and units:
        raise UsageError(
            f"{units} has numbers from 0 to 1, but {whole} whole numbers of more than 8 bits, so "
            "they have no common scale.\nSave all images in the same type."
        )
    return low, high, bool(whole)
