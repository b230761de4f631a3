"""Feature maps of a timm backbone."""

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError


class TimmFeatures(nn.Module):
    """The last feature map at each of the strides that are asked for."""

    def __init__(self, name: str, strides: list[int], *, pretrained: bool) -> None:
        super().__init__()
        levels = feature_levels(name, strides)
        self.body = timm.create_model(
            name, features_only=True, out_indices=levels, pretrained=pretrained
        )
        self.channels: list[int] = self.body.feature_info.channels()
        # Some transformers put the channels last.
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [B, C, S / stride, S / stride] of images [B, 3, S, S]."""
        maps: list[Tensor] = self.body(images)
        return [one.permute(0, 3, 1, 2) for one in maps] if self.channels_last else maps


def feature_levels(name: str, strides: list[int]) -> tuple[int, ...]:
    """Which of a backbone's feature maps have the strides.

    Raises:
        UsageError: if it has no such maps.
    """
    try:
        with torch.device("meta"):  # to ask, not to compute: no memory, no random weights
            offered = timm.create_model(name, features_only=True).feature_info.reduction()
    except (AttributeError, RuntimeError) as error:
        raise UsageError(f"model.backbone={name} gives no feature maps: {error}.") from error
    if not set(strides) <= set(offered):
        raise UsageError(
            f"model.backbone={name} has feature maps of the strides "
            f"{', '.join(map(str, offered))}, but this detector needs "
            f"{', '.join(map(str, strides))}.\nTake one that narrows step by step, such as "
            "resnet50 or convnext_tiny."
        )
    return tuple(len(offered) - 1 - offered[::-1].index(stride) for stride in strides)
