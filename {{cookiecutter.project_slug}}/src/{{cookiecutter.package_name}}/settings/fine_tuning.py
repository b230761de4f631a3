"""The settings of fine-tuning: the weights to start from, and those that are not trained."""

from typing import Annotated, Literal

from pydantic import Field

# ~ if cookiecutter.task == "detection"
Pretrained = Annotated[
    bool | str,
    Field(
        description="true or imagenet: weights of the backbone; coco: the detector as its library "
        "publishes it, in place of backbone and channels; or a file or folder of weights."
    ),
]
# ~ else
Pretrained = Annotated[
    bool | str,
    Field(
        description="true or imagenet: downloaded weights of the backbone; or a file or folder of "
        "weights."
    ),
]
# ~ endif
Freeze = Annotated[
    Literal["none", "backbone"] | Annotated[int, Field(ge=1)],
    Field(description="What is not trained: backbone, or its first stages, such as 2."),
]
