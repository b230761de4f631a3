"""The settings of data and model for image classification."""

from typing import Annotated, Literal

from pydantic import Field

from .check import Strict
from .data import OwnFolder, ShapesSettings


class ImageFolderSettings(OwnFolder):
    """Class folders below ``train/ val/ test/``, or class folders that are split here."""

    name: Literal["imagefolder"]


DataSettings = Annotated[ShapesSettings | ImageFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network and its regularisation."""

    backbone: str = Field(min_length=1, description="Any model of timm.list_models().")
    pretrained: bool = Field(description="Start from downloaded weights, usually of photos.")
    drop_rate: float = Field(ge=0, lt=1, description="Dropout before the last layer.")
    label_smoothing: float = Field(
        ge=0, lt=1, description="Share of a target spread over all classes."
    )
    mixup: float = Field(ge=0, description="Strength (alpha) of blending two images; 0 is off.")
    cutmix: float = Field(ge=0, description="Strength (alpha) of pasting image parts; 0 is off.")
    channels_last: bool = Field(description="Channels-last memory makes convolutions faster.")
    compile: bool = Field(description="torch.compile: a slow start, then faster on a GPU.")
