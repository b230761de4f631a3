"""Extract the feature maps of a timm backbone."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import timm
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from ..errors import UsageError
from ..settings.detection import ModelSettings


class TimmFeatures(nn.Module):
    """A timm backbone that returns its feature maps at the given strides."""

    def __init__(
        self, name: str, strides: Sequence[int], *, in_channels: int, pretrained: bool
    ) -> None:
        super().__init__()
        self.body: Any = timm.create_model(
            name, features_only=True, in_chans=in_channels, pretrained=pretrained
        )
        self.levels = levels_of(name, self.body, strides)
        self.channels = [self.body.feature_info.channels()[level] for level in self.levels]
        # Some transformers return feature maps [B, H, W, C].
        self.channels_last = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return feature maps [B, C, H / stride, W / stride] of normalised images [B, C, H, W]."""
        available = self.body(images)
        maps: list[Tensor] = [available[level] for level in self.levels]
        return [feature.permute(0, 3, 1, 2) for feature in maps] if self.channels_last else maps


def levels_of(name: str, body: Any, strides: Sequence[int]) -> list[int]:
    """Return the index of the last feature map of a backbone at each of the given strides.

    Raises:
        UsageError: if the backbone has no feature map at a stride.
    """
    available: list[int] = body.feature_info.reduction()
    if not set(strides) <= set(available):
        raise UsageError(
            f"model.backbone={name} has feature maps at the strides "
            f"{', '.join(map(str, available))}, but this detector needs "
            f"{', '.join(map(str, strides))}.\nChoose a backbone that halves "
            "its maps step by step, such as resnet50 or convnext_tiny."
        )
    return [len(available) - 1 - available[::-1].index(stride) for stride in strides]


FeaturesAt = Callable[[Sequence[int]], TimmFeatures]  # the feature maps at the given strides


class FeaturePyramid(nn.Module):
    """A feature pyramid on a timm backbone."""

    def __init__(
        self, settings: ModelSettings, min_stride: int, extra: nn.Module, features: FeaturesAt
    ) -> None:
        super().__init__()
        strides = [stride for stride in (4, 8, 16, 32) if stride >= min_stride]
        self.body = features(strides)
        self.out_channels = settings.channels
        self.fpn = FeaturePyramidNetwork(self.body.channels, settings.channels, extra_blocks=extra)

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Return feature maps [B, out_channels, H / stride, W / stride] of normalised images."""
        features = self.body(images)
        maps: OrderedDict[str, Tensor] = self.fpn(
            OrderedDict((str(level), feature) for level, feature in enumerate(features))
        )
        return maps
