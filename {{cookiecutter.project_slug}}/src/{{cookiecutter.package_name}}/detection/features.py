"""Feature maps of a timm backbone."""

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

from ..errors import UsageError


class TimmFeatures(nn.Module):
    """The last feature map at each of the strides that are asked for."""

    def __init__(self, name: str, strides: Sequence[int], *, pretrained: bool) -> None:
        super().__init__()
        self.body: Any = timm.create_model(name, features_only=True, pretrained=pretrained)
        self.levels = levels_of(name, self.body, strides)
        self.channels = [self.body.feature_info.channels()[level] for level in self.levels]
        # Some transformers put the channels last.
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [B, C, S / stride, S / stride] of images [B, 3, S, S]."""
        offered = self.body(images)
        maps: list[Tensor] = [offered[level] for level in self.levels]
        return [one.permute(0, 3, 1, 2) for one in maps] if self.channels_last else maps


def levels_of(name: str, body: Any, strides: Sequence[int]) -> list[int]:
    """Which of a backbone's feature maps have the strides.

    Raises:
        UsageError: if there are no such maps.
    """
    offered: list[int] = body.feature_info.reduction()
    if not set(strides) <= set(offered):
        raise UsageError(
            f"model.backbone={name} has feature maps of the strides "
            f"{', '.join(map(str, offered))}, but this detector needs "
            f"{', '.join(map(str, strides))}.\nTake one that narrows step by step, such as "
            "resnet50 or convnext_tiny."
        )
    return [len(offered) - 1 - offered[::-1].index(stride) for stride in strides]
