"""The settings of data and model for semantic segmentation."""

from typing import Annotated, Literal

from pydantic import Field

from .check import Strict
from .data import DataFolder, ShapesFolder

Size = Annotated[int, Field(ge=32, le=2048, multiple_of=32)]


class AugmentSettings(Strict):
    """Random changes to training images and their masks, made by the loader's workers."""

    crop_scale: float = Field(
        gt=0, le=1, description="Smallest area of the random crop, as a share; 1 is off."
    )
    flip: float = Field(ge=0, le=1, description="Probability of a left-right flip.")
    rotate: float = Field(ge=0, le=180, description="Largest rotation in degrees.")
    color: float = Field(
        ge=0, le=1, description="Largest change of brightness, contrast, saturation."
    )


class ShapesSettings(ShapesFolder):
    """The embedded data."""

    image_size: Size = Field(description="Height and width of the stretched images in pixels.")
    augment: AugmentSettings


class MaskFolderSettings(DataFolder):
    """Images with mask files, or with COCO annotations."""

    name: Literal["maskfolder", "coco"]
    image_size: Size = Field(description="Height and width of the stretched images in pixels.")
    augment: AugmentSettings


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
