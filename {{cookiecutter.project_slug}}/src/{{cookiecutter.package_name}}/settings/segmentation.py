"""The settings of data and model for semantic segmentation."""

from typing import Annotated, Literal

from pydantic import Field

from .check_settings import Strict
from .data import OwnFolder, ShapesSettings


# ~ if cookiecutter.scope == "complete"
class MaskFolderSettings(OwnFolder):
    """Images with mask files, or with annotations of COCO or LabelMe."""

    name: Literal["maskfolder", "coco", "labelme"]


# ~ else
class MaskFolderSettings(OwnFolder):
    """Images with mask files."""

    name: Literal["maskfolder"]


# ~ endif
DataSettings = Annotated[ShapesSettings | MaskFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network and its loss."""

    architecture: str = Field(min_length=1, description="Any of segmentation-models-pytorch.")
    backbone: str = Field(
        min_length=1,
        description="Any model of timm.list_models() with feature maps of several sizes.",
    )
    # ~ if cookiecutter.scope == "complete"
    pretrained: bool | str = Field(
        description="true or imagenet: downloaded weights of the backbone; or a file or folder of "
        "weights."
    )
    freeze: Literal["none", "backbone"] | Annotated[int, Field(ge=1)] = Field(
        description="What is not trained: backbone, or its first stages, such as 2."
    )
    # ~ else
    pretrained: bool | Literal["imagenet"] = Field(description="Start from downloaded weights.")
    # ~ endif
    decoder_channels: int = Field(
        ge=32, multiple_of=16, description="Channels of the decoder (not: linknet, pspnet)."
    )
    loss: list[Literal["cross_entropy", "dice", "focal"]] = Field(
        min_length=1, description="Losses that are summed: cross_entropy, dice, focal."
    )
    channels_last: bool = Field(description="Channels-last memory makes convolutions faster.")
    compile: bool = Field(description="torch.compile: a slow start, then faster on a GPU.")
