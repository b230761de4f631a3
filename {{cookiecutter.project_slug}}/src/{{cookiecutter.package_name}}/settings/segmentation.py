"""The settings of data and model for semantic segmentation."""

from typing import Annotated, Literal

from pydantic import Field

from .check import Strict
from .data import OwnFolder, ShapesSettings


class MaskFolderSettings(OwnFolder):
    """Images with mask files, or with annotations of COCO or LabelMe."""

    name: Literal["maskfolder", "coco", "labelme"]


DataSettings = Annotated[ShapesSettings | MaskFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network and its loss."""

    architecture: str = Field(
        min_length=1, description="Any architecture of segmentation-models-pytorch."
    )
    backbone: str = Field(min_length=1, description="Any model of timm.list_models().")
    pretrained: bool = Field(description="Start from downloaded weights, usually of photos.")
    decoder_channels: int = Field(
        ge=32,
        multiple_of=16,
        description="Channels of the widest layer of unet, unetplusplus and manet.",
    )
    loss: list[Literal["cross_entropy", "dice", "focal"]] = Field(
        min_length=1, description="Losses that are summed: cross_entropy, dice, focal."
    )
    channels_last: bool = Field(description="Channels-last memory makes convolutions faster.")
    compile: bool = Field(description="torch.compile: a slow start, then faster on a GPU.")
