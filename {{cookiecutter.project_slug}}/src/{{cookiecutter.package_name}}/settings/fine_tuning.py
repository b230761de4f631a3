"""The settings of fine-tuning: the weights to start from, and those that are not trained."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from ..errors import UsageError

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

# Settings that determine the groups of parameters, and so the form of the optimiser's state.
UNCHANGEABLE = ("model.freeze", "optimizer.backbone_lr", "optimizer.layer_decay")


def check_optimizer_unchanged(overrides: Sequence[str], run_id: str) -> None:
    """Check that a run can be resumed with the state of its optimiser.

    Args:
        overrides: the command-line overrides.
        run_id: the run to resume.

    Raises:
        UsageError: if an override changes which parameters the optimiser has.
    """
    for word in (override.lstrip("+") for override in overrides):
        if word.startswith(UNCHANGEABLE):
            raise UsageError(
                f"{word} cannot be changed when a run is resumed, since the state of the optimiser "
                "would not fit. Leave it out, or start a new run from the same weights: "
                f"init={run_id}"
            )
