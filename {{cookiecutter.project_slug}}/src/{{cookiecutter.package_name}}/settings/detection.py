"""The settings of data and model for object detection."""

from typing import Annotated, Literal

from pydantic import Field

from .check_settings import Strict
from .data import OwnFolder, ShapesSettings


# ~ if cookiecutter.scope == "complete"
class BoxFolderSettings(OwnFolder):
    """Annotations of COCO, YOLO, Pascal VOC or LabelMe."""

    name: Literal["coco", "yolo", "voc", "labelme"]


# ~ else
class BoxFolderSettings(OwnFolder):
    """Annotations of COCO."""

    name: Literal["coco"]


# ~ endif
DataSettings = Annotated[ShapesSettings | BoxFolderSettings, Field(discriminator="name")]


class ModelSettings(Strict):
    """The network, and the threshold of the boxes that are shown."""

    # ~ if cookiecutter.scope == "complete"
    architecture: Literal["fcos", "retinanet", "fasterrcnn", "ssdlite", "dfine"] = Field(
        description="The detector; dfine needs packages: uv sync --extra dfine."
    )
    # ~ endif
    backbone: str = Field(min_length=1, description="Any model of timm.list_models().")
    # ~ if cookiecutter.scope == "complete"
    pretrained: bool | str = Field(
        description="true or imagenet: weights of the backbone; coco: the detector as its library "
        "publishes it, in place of backbone and channels; or a file or folder of weights."
    )
    freeze: Literal["none", "backbone"] | Annotated[int, Field(ge=1)] = Field(
        description="What is not trained: backbone, or its first stages, such as 2."
    )
    # ~ else
    pretrained: bool | Literal["imagenet"] = Field(description="Start from downloaded weights.")
    # ~ endif
    # The heads have group norms of 32 groups with two channels at least.
    channels: int = Field(ge=64, multiple_of=32, description="Channels of the feature pyramid.")
    score_threshold: float = Field(
        ge=0, lt=1, description="Lowest score of a box that is shown; mAP uses all boxes."
    )
    channels_last: bool = Field(description="Channels-last memory makes convolutions faster.")
    compile: bool = Field(description="torch.compile: a slow start, then faster on a GPU.")
