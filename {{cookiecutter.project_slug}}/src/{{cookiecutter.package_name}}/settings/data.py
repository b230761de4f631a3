"""The settings that all data sets have, and those of the generated data set."""

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, field_validator

from .check_settings import Strict

SHAPES_ROOT = "data/shapes"  # as in configs/data/shapes.yaml
ARCHIVES = {".7z", ".gz", ".rar", ".tar", ".tgz", ".zip"}
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]  # "~" is the home folder
# ~ if cookiecutter.task == "classification"
MAX_SIDE, SIDE_STEP = 1024, 1  # pixels
SIDES = f"Each side is from 32 to {MAX_SIDE}"
IMAGE_SIZES = 128, 224  # the default, and that for many training images


# ~ else
MAX_SIDE, SIDE_STEP = 2048, 32  # pixels
SIDES = f"Each side is a multiple of {SIDE_STEP} from 32 to {MAX_SIDE}"
IMAGE_SIZES = {{ 288 if cookiecutter.task == "detection" else 160 }}, 512  # the default, and that for many training images


# ~ endif
class PixelFormat(NamedTuple):
    """How the values of an image file become the 8-bit channels of the model's input."""

    channels: int = 3
    value_range: tuple[float, float] | None = None
    max_pixels: int = 100_000_000  # as in configs/base.yaml


class AugmentSettings(Strict):
    """Random changes to training images, made by the loader's workers."""

    crop_scale: float = Field(gt=0, le=1, description="Smallest area of random crops; 1 is off.")
    flip: float = Field(ge=0, le=1, description="Probability of a left-right flip.")
    # ~ if cookiecutter.scope == "complete"
    flip_vertical: float = Field(ge=0, le=1, description="Probability of an upside-down flip.")
    # ~ endif
    # ~ if cookiecutter.task != "classification" or cookiecutter.scope == "complete"
    rotate: float = Field(ge=0, le=180, description="Largest rotation in degrees.")
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    blur: float = Field(ge=0, le=1, description="Probability of a blur.")
    noise: float = Field(ge=0, le=1, description="Largest noise (standard deviation / 255).")
    erase: float = Field(ge=0, le=1, description="Probability that a rectangle becomes grey.")
    # ~ if cookiecutter.task == "detection"
    mosaic: float = Field(ge=0, le=1, description="Probability that four images are joined to one.")
    # ~ endif
    # ~ if cookiecutter.task == "segmentation"
    copy_paste: float = Field(
        ge=0, le=1, description="Probability that a class of another image is pasted into an image."
    )
    # ~ endif
    # ~ if cookiecutter.task == "classification"
    policy: Literal["randaugment", "trivialaugment"] | None = Field(
        description="Random changes of torchvision in addition, for images of three channels."
    )
    # ~ endif
    # ~ endif
    color: float = Field(
        ge=0, le=1, description="Largest change of brightness, contrast and saturation."
    )


class DataFolder(Strict):
    """A folder of images."""

    # ~ if cookiecutter.task == "detection" or cookiecutter.scope == "complete"
    root: Path = Field(description="The folder of the data set, or the file that describes it.")
    # ~ else
    root: Path = Field(description="The folder of the data set.")
    # ~ endif
    max_pixels: int = Field(ge=1, description="Images of more pixels are refused, not decoded.")
    # ~ if cookiecutter.scope == "complete"
    channels: int = Field(ge=1, description="Channels; more than 4 need TIFF or NumPy files.")
    # ~ else
    channels: Literal[1, 3] = Field(description="Channels of the images: 3 are RGB, 1 is grey.")
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    value_range: tuple[float, float] | None = Field(
        description="[low,high] becomes [0,255] in images of more than 8 bits; null estimates it "
        "from training images."
    )
    # ~ else
    value_range: tuple[float, float] | None = Field(
        description="[low,high] becomes [0,255] in images of more than 8 bits."
    )
    # ~ endif
    # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "segmentation" and cookiecutter.scope == "complete")
    outside_root: bool = Field(description="Whether annotation files may name images outside root.")
    # ~ endif
    image_size: int | tuple[int, int] | None = Field(
        description="Size in pixels of the images that the network gets: the side of a square, or "
        f"[height,width]. {SIDES}. null chooses it by the number of images."
    )
    fit: Literal["letterbox", "stretch", "crop"] = Field(
        description="How images are resized to image_size: letterbox pads with grey, stretch "
        "ignores the aspect ratio, crop cuts off the edges."
    )
    augment: AugmentSettings
    # ~ if cookiecutter.scope == "complete"
    # ~ if cookiecutter.task != "classification"
    tiles: int | None = Field(
        ge=32,
        description="Read larger images as overlapping tiles of this side length in pixels, each "
        "as an image of its own; null reads whole images.",
    )
    # ~ endif
    cache: Literal["disk"] | None = Field(description="Store decoded, resized images on the disk.")
    cache_folder: UserPath = Field(description="The folder of the cache, which can be deleted.")
    # ~ if cookiecutter.task != "segmentation"
    balance: float = Field(
        ge=0,
        le=1,
        description="How much more often images of rare classes are drawn in training: 0 is off, "
        "1 makes all classes equally frequent.",
    )
    # ~ endif
    exclude: UserPath | None = Field(description="A file that lists images to leave out.")
    # ~ endif
    skip_unreadable: bool = Field(description="Leave out and list missing and unreadable files.")

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, root: object) -> object:
        if root is None:
            raise ValueError("name the folder of the data set: data.root=<folder>")
        path = Path(str(root)).expanduser()
        if path.suffix.lower() in ARCHIVES and not path.is_dir():
            raise ValueError(f"is {path}, an archive: unpack it, and name the folder that results")
        return path

    @field_validator("image_size", mode="before")
    @classmethod
    def _sides(cls, image_size: object) -> object:
        if image_size is None:
            return None
        sides = image_size if isinstance(image_size, list | tuple) else [image_size, image_size]
        if len(sides) != 2 or any(side not in range(32, MAX_SIDE + 1, SIDE_STEP) for side in sides):
            raise ValueError(f"is {image_size}: name a side or [height,width]. {SIDES}")
        return image_size

    @property
    def input_size(self) -> tuple[int, int]:
        """The height and width of the model input in pixels."""
        size = self.image_size or IMAGE_SIZES[0]
        return size if isinstance(size, tuple) else (size, size)

    @field_validator("value_range")
    @classmethod
    def _rising(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and bounds[0] >= bounds[1]:
            raise ValueError("must be [lowest, highest], such as [0,4095]")
        return bounds

    @property
    def pixels(self) -> PixelFormat:
        """The settings that a reader of image files needs."""
        return PixelFormat(self.channels, self.value_range, self.max_pixels)


class OwnFolder(DataFolder):
    """A folder of the user's own images, which is split if it has no splits."""

    split: tuple[float, float, float] = Field(
        description="Fractions of images for train, val and test, if the data have no splits."
    )
    split_seed: int = Field(ge=0, lt=2**32, description="Seed of the split.")
    split_by: str | None = Field(
        description="A pattern (regex) of file names; images with the same match stay together."
    )
    split_file: UserPath | None = Field(description="The split.csv of a run; null splits anew.")

    @field_validator("split")
    @classmethod
    def _shares(cls, split: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(split) < 0 or split[0] == 0 or split[1] == 0 or abs(sum(split) - 1) > 1e-6:
            raise ValueError(
                "must be three fractions that sum to 1, such as [0.8,0.1,0.1]; only the last, "
                "for the test, may be 0"
            )
        return split

    @field_validator("split_by")
    @classmethod
    def _regex(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return pattern


class ShapesSettings(DataFolder):
    """Images of coloured shapes, generated once and then read like any other data set."""

    name: Literal["shapes"]
    train_images: int = Field(ge=10, description="Images to draw for training.")
    val_images: int = Field(ge=10, description="Images to draw for validation.")
    test_images: int = Field(ge=10, description="Images to draw for the test.")

    @property
    def counts(self) -> dict[str, int]:
        """The number of images to draw for each split."""
        return {"train": self.train_images, "val": self.val_images, "test": self.test_images}
