"""The settings of data and model for image classification."""

# ~ if cookiecutter.scope == "complete"
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

# ~ else
from typing import Annotated, Literal

from pydantic import Field

# ~ endif
from .check_settings import Strict
from .data import OwnFolder, ShapesSettings


class ImageFolderSettings(OwnFolder):
    """Class folders below ``train/ val/ test/``, or class folders that are split here."""

    name: Literal["imagefolder"]


# ~ if cookiecutter.scope == "complete"
class CsvSettings(OwnFolder):
    """A CSV file with a row for each image, or the folder that holds it."""

    name: Literal["csv"]
    path_column: str | None = Field(description="The column of image paths; null finds it by name.")
    label_column: str | list[str] | None = Field(
        description="The column of labels, or the 0/1 columns of each label; null finds them."
    )
    multilabel: bool = Field(description="Whether an image may have several labels, or none.")
    label_separator: str | None = Field(
        description="The text between the labels of an image; null finds it, '' is for none."
    )
    outside_root: bool = Field(description="Whether the file may name images outside its folder.")

    @model_validator(mode="after")
    def _several_labels_are_allowed(self) -> Self:
        if not self.multilabel and (isinstance(self.label_column, list) or self.label_separator):
            raise ValueError("several label columns, or a separator, need data.multilabel=true")
        return self


DataSettings = Annotated[
    ShapesSettings | ImageFolderSettings | CsvSettings, Field(discriminator="name")
]


def has_several_labels(data: DataSettings) -> bool:
    """Return whether an image may have several labels."""
    return isinstance(data, CsvSettings) and data.multilabel


# ~ else
DataSettings = Annotated[ShapesSettings | ImageFolderSettings, Field(discriminator="name")]


# ~ endif
class ModelSettings(Strict):
    """The network and its regularisation."""

    backbone: str = Field(min_length=1, description="Any model of timm.list_models().")
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
    drop_rate: float = Field(ge=0, lt=1, description="Dropout before the last layer.")
    # ~ if cookiecutter.scope == "complete"
    score_threshold: float = Field(
        ge=0, le=1, description="Lowest probability of a predicted label, with data.multilabel."
    )
    # ~ endif
    label_smoothing: float = Field(ge=0, lt=1, description="Share of targets spread over classes.")
    mixup: float = Field(ge=0, description="Strength (alpha) of blending two images; 0 is off.")
    cutmix: float = Field(ge=0, description="Strength (alpha) of pasting image parts; 0 is off.")
    channels_last: bool = Field(description="Channels-last memory makes convolutions faster.")
    compile: bool = Field(description="torch.compile: a slow start, then faster on a GPU.")
