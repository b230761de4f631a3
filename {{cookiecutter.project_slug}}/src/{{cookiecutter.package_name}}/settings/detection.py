"""The settings that only this task has."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from .check import Strict


class AugmentSettings(Strict):
    """Random changes to training images, made by the loader's workers; boxes move along."""

    crop_scale: float = Field(gt=0, le=1)
    flip: float = Field(ge=0, le=1)
    rotate: float = Field(ge=0, le=180)
    color: float = Field(ge=0, le=1)


class CommonDataSettings(Strict):
    """The settings of every data set."""

    name: str
    root: Path
    image_size: int = Field(ge=32, le=2048, multiple_of=32)
    skip_unreadable: bool
    cache: Literal["disk"] | None
    cache_folder: Path
    augment: AugmentSettings

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, root: object) -> object:
        if root is None:
            raise ValueError("say where the data are: data.root=<folder>")
        return root


class ShapesSettings(CommonDataSettings):
    """The embedded data: drawn once, then read like any other COCO data set."""

    name: Literal["shapes"]
    train_images: int = Field(ge=10)
    val_images: int = Field(ge=10)
    test_images: int = Field(ge=10)

    @property
    def counts(self) -> dict[str, int]:
        """How many images each split gets."""
        return {"train": self.train_images, "val": self.val_images, "test": self.test_images}


class BoxFolderSettings(CommonDataSettings):
    """A data set of one's own: COCO annotations, or YOLO's ``data.yaml`` with label files."""

    name: Literal["coco", "yolo"]


DataSettings = Annotated[ShapesSettings | BoxFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network, and which of its boxes are shown."""

    architecture: Literal["fcos", "retinanet", "fasterrcnn", "ssdlite", "dfine"]
    backbone: str = Field(min_length=1)
    pretrained: bool
    channels: int = Field(ge=64, multiple_of=32)  # 32 groups, of two at least
    score_threshold: float = Field(ge=0, lt=1)
    channels_last: bool
    compile: bool
