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


class ShapesSettings(Strict):
    """The embedded data: drawn once, then read like any other COCO data set."""

    name: Literal["shapes"]
    root: Path
    image_size: int = Field(ge=32, le=2048, multiple_of=32)
    train_images: int = Field(ge=10)
    val_images: int = Field(ge=10)
    test_images: int = Field(ge=10)
    skip_unreadable: bool
    cache: Literal["ram", "disk"] | None
    cache_folder: Path
    augment: AugmentSettings

    @property
    def counts(self) -> dict[str, int]:
        """How many images each split gets."""
        return {"train": self.train_images, "val": self.val_images, "test": self.test_images}


class BoxFolderSettings(Strict):
    """A data set of one's own: COCO annotations, or YOLO's ``data.yaml`` with label files."""

    name: Literal["coco", "yolo"]
    root: Path
    image_size: int = Field(ge=32, le=2048, multiple_of=32)
    skip_unreadable: bool
    cache: Literal["ram", "disk"] | None
    cache_folder: Path
    augment: AugmentSettings

    @field_validator("root", mode="before")
    @classmethod
    def _named(cls, root: object) -> object:
        if root is None:
            raise ValueError("say where the data are: data.root=<folder>")
        return root


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
