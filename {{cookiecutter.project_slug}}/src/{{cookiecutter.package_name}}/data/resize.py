"""Resize images of any shape to the model input: ``data.image_size`` and ``data.fit``."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
# ~ if cookiecutter.task == "segmentation"
from torchvision import tv_tensors
# ~ endif
from torchvision.transforms import {{ "InterpolationMode, " if cookiecutter.task == "segmentation" }}RandomResizedCrop
from torchvision.transforms.v2 import functional

from ..settings.data import {{ "IMAGE_SIZES, MAX_SIDE, SIDE_STEP" if cookiecutter.scope == "complete" and cookiecutter.task != "classification" else "IMAGE_SIZES" }}, DataFolder
from ..settings.schema import Settings
from .datamodule import Datasets
from .reading_summary import number_of

DataT = TypeVar("DataT", bound=DataFolder)
SettingsT = TypeVar("SettingsT", bound=Settings)
MANY_IMAGES = 5000  # from so many on, the training is long enough for larger images
GREY = 128  # of the pixels that ``letterbox`` adds
# ~ if cookiecutter.task == "segmentation"
NEAREST = InterpolationMode.NEAREST_EXACT  # of masks
# ~ endif
ASPECTS = (3 / 4, 4 / 3)  # range of the random crop's aspect ratio, relative to that of the image


def choose_image_size(data: DataT, images: int) -> DataT:
    """Return the settings of data with an image size if ``image_size`` is null.

    It follows from the number of training images, as the number of optimiser steps does (see
    ``training_length``): within few steps, a network learns more from small images.
    """
    if data.image_size is not None:
        return data
    side = IMAGE_SIZES[images >= MANY_IMAGES]
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    if data.tiles is not None:
        side = min(-(-data.tiles // SIDE_STEP) * SIDE_STEP, MAX_SIDE)
    # ~ endif
    return data.model_copy(update={"image_size": side})


def with_image_size(settings: SettingsT, datasets: Datasets) -> SettingsT:
    """Return the settings with the image size of the data sets, and note it if it was chosen."""
    data = datasets.settings
    if data is None or settings.data.image_size is not None:
        return settings
    # ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
    count = number_of(len(datasets.train), "images" if data.tiles is None else "tiles")
    # ~ else
    count = number_of(len(datasets.train), "images")
    # ~ endif
    datasets.reading.note(
        f"data.image_size={data.image_size}, since train has {count}. "
        "To change it: data.image_size=<pixels>"
    )
    return settings.model_copy(update={"data": data})


class Placement(NamedTuple):
    """The place of an image in the model input: resized, then centred, and padded or cut off."""

    size: tuple[int, int]  # height and width of the model input
    resized: tuple[int, int]  # height and width of the resized image

    @property
    def corner(self) -> tuple[int, int]:
        """The top and the left of the resized image in the input; negative if it is cut off."""
        (height, width), (rows, columns) = self.size, self.resized
        return round((height - rows) / 2), round((width - columns) / 2)

    def apply(self, part: Any, fill: int) -> Any:
        """Resize and centre an image or an aligned tensor of torchvision; padding is ``fill``."""
        (height, width), (rows, columns), (top, left) = self.size, self.resized, self.corner
        # ~ if cookiecutter.task == "segmentation"
        if isinstance(part, tv_tensors.Mask):  # torchvision's NEAREST would move it by half a pixel
            ids = functional.resize(part.as_subclass(Tensor)[None], [rows, columns], NEAREST)
            part = tv_tensors.Mask(ids[0])
        else:
            part = functional.resize(part, [rows, columns], antialias=True)
        # ~ else
        part = functional.resize(part, [rows, columns], antialias=True)
        # ~ endif
        if rows > height or columns > width:
            return functional.crop(part, -top, -left, height, width)
        padding = [left, top, width - columns - left, height - rows - top]
        # ~ if cookiecutter.task == "detection"
        return functional.pad(part, padding, fill=fill) if any(padding) else part

    def to_input(self, points: Tensor) -> Tensor:
        """Map points from the image to the input: float [N, 4] of x, y, x, y, all from 0 to 1."""
        scale, shift = self._scale_and_shift(points)
        return (points * scale + shift).clamp(0, 1)

    def to_image(self, points: Tensor) -> Tensor:
        """Map points from the input to the image, as ``to_input`` maps them to the input."""
        scale, shift = self._scale_and_shift(points)
        return ((points - shift) / scale).clamp(0, 1)

    def _scale_and_shift(self, points: Tensor) -> tuple[Tensor, Tensor]:
        (height, width), (rows, columns), (top, left) = self.size, self.resized, self.corner
        scale = points.new_tensor([columns / width, rows / height] * 2)
        return scale, points.new_tensor([left / width, top / height] * 2)


WHOLE = Placement((1, 1), (1, 1))  # of an image that has the size of the model input


# ~ else
        return functional.pad(part, padding, fill=fill) if any(padding) else part


# ~ endif
def place(size: tuple[int, int], settings: DataFolder) -> Placement:
    """Return the place of an image of this height and width, as ``data.fit`` determines it."""
    (image_height, image_width), (height, width) = size, settings.input_size
    if settings.fit == "stretch":
        return Placement(settings.input_size, settings.input_size)
    choose = min if settings.fit == "letterbox" else max
    rows = choose(height, image_height * width // image_width)
    columns = choose(width, image_width * height // image_height)
    return Placement(settings.input_size, (max(rows, 1), max(columns, 1)))


class Fit(torch.nn.Module):
    """Fit an image and tensors that are aligned with it into the model input.

    With ``random``, a random part of the image, of an area of at least ``augment.crop_scale``,
    takes the place of the whole image, so that objects have about the same shape in training and in
    validation. For ``fit=crop``, the part has about the shape of the input and fills it.
    ``fill`` is the padding by the type of a tensor; that of images is grey by default.
    """

    def __init__(
        self, settings: DataFolder, fill: Mapping[type, int] | None = None, *, random: bool = False
    ) -> None:
        super().__init__()
        self.settings = settings
        self.fill = fill or {}
        self.random = random and settings.augment.crop_scale < 1

    def forward(self, *parts: Any) -> Any:
        """Return the fitted image, uint8 [C, H, W], or a tuple of it and the aligned tensors."""
        height, width = parts[0].shape[-2:]
        placement = place((height, width), self.settings)
        if self.random:
            if self.settings.fit == "crop":
                height, width = placement.size
                placement = Placement(placement.size, placement.size)
            scale = [self.settings.augment.crop_scale, 1.0]
            ratio = [aspect * width / height for aspect in ASPECTS]
            window = RandomResizedCrop.get_params(parts[0], scale, ratio)
            parts = tuple(functional.crop(part, *window) for part in parts)
        fitted = tuple(placement.apply(part, self.fill.get(type(part), GREY)) for part in parts)
        return fitted if len(fitted) > 1 else fitted[0]


def model_input(image: Tensor, settings: DataFolder) -> Tensor:
    """Transform an image as in validation, from uint8 [C, H, W] to the size of the model input."""
    fitted: Tensor = Fit(settings)(image)
    return fitted
