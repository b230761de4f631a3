"""The settings that only this task has."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from .check import Strict


class AugmentSettings(Strict):
    """Random changes to training images, made by the loader's workers."""

    crop_scale: float = Field(gt=0, le=1)
    flip: float = Field(ge=0, le=1)
    color: float = Field(ge=0, le=1)


class CommonDataSettings(Strict):
    """The settings of every data set."""

    name: str
    root: Path
    image_size: int = Field(ge=32, le=1024)
    skip_unreadable: bool
    cache: Literal["disk"] | None
    cache_folder: Path
    augment: AugmentSettings

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, root: object) -> object:
        if root is None:
            raise ValueError("say where the images are: data.root=<folder>")
        return root


class ShapesSettings(CommonDataSettings):
    """The embedded data: drawn once, then read like any other folder of images."""

    name: Literal["shapes"]
    train_images: int = Field(ge=10)
    val_images: int = Field(ge=10)
    test_images: int = Field(ge=10)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each split gets."""
        return {"train": self.train_images, "val": self.val_images, "test": self.test_images}


class ImageFolderSettings(CommonDataSettings):
    """Class folders below ``train/ val/ test/``, or bare class folders that are split here."""

    name: Literal["imagefolder"]
    val_fraction: float = Field(gt=0, lt=1)
    test_fraction: float = Field(gt=0, lt=1)
    split_seed: int = Field(ge=0, lt=2**32)

    @model_validator(mode="after")
    def _leaves_some_for_training(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction leave nothing to train on")
        return self


DataSettings = Annotated[ShapesSettings | ImageFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network and what regularises it."""

    backbone: str = Field(min_length=1)
    pretrained: bool
    drop_rate: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    mixup: float = Field(ge=0)
    cutmix: float = Field(ge=0)
    channels_last: bool
    compile: bool
