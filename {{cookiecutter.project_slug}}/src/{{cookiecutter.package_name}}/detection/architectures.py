# ~ if cookiecutter.scope == "complete"
"""The detectors of torchvision that ``model.architecture`` names, on the feature maps of timm."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import timm
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

# ~ else
"""FCOS of torchvision on the feature maps of a timm backbone."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import timm
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

# ~ endif
from ..errors import UsageError
from ..settings.detection import ModelSettings

# ~ if cookiecutter.scope == "complete"
GROUPS = 32  # number of groups of the group normalisation in the heads
# ~ endif
START = 2.0  # distance from a position to each side of its box in a new network
MIN_SCORE = 0.01  # boxes with lower scores hardly change mAP, but take time


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
    """Return the index of the last feature map of a backbone at each of the given strides."""
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

    def __init__(self, body: TimmFeatures, channels: int, extra: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.out_channels = channels
        self.fpn = FeaturePyramidNetwork(body.channels, channels, extra_blocks=extra)

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Return feature maps [B, out_channels, H / stride, W / stride] of normalised images."""
        named = ((str(level), feature) for level, feature in enumerate(self.body(images)))
        maps: OrderedDict[str, Tensor] = self.fpn(OrderedDict(named))
        return maps


def fcos(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    """Build FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355) on a feature pyramid."""
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = FeaturePyramid(features([8, 16, 32]), settings.channels, top)
    model = FCOS(pyramid, classes, score_thresh=MIN_SCORE)
    # torchvision begins with distances of about 0, and a ReLU may then keep all of them at 0: the
    # boxes have no area, and the loss has no gradient. The unit is the stride of the feature map.
    nn.init.constant_(model.head.regression_head.bbox_reg.bias, START)
    # ~ if cookiecutter.scope == "complete"
    return model


class _StridedFeatures(nn.Module):
    """A timm backbone, followed by convolutions that each halve the feature map, as in SSDLite."""

    extra = (512, 256, 256, 128)

    def __init__(self, features: FeaturesAt) -> None:
        super().__init__()
        self.body = features([16, 32])
        self.out_channels = [*self.body.channels, *self.extra]
        steps = zip(self.out_channels[1:], self.extra, strict=False)
        self.further = nn.ModuleList(_downsampling(before, after) for before, after in steps)

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        maps = self.body(images)
        for step in self.further:
            maps.append(step(maps[-1]))
        return OrderedDict((str(level), feature) for level, feature in enumerate(maps))


def _downsampling(before: int, after: int) -> nn.Sequential:
    block = partial(Conv2dNormActivation, activation_layer=nn.ReLU6)
    inner = after // 2
    return nn.Sequential(
        block(before, inner, kernel_size=1),
        block(inner, inner, kernel_size=3, stride=2, groups=inner),
        block(inner, after, kernel_size=1),
    )


def _retinanet(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = FeaturePyramid(features([8, 16, 32]), settings.channels, top)
    # Nine anchors at each position: three sizes times three aspect ratios.
    head = RetinaNetHead(settings.channels, 9, classes, norm_layer=partial(nn.GroupNorm, GROUPS))
    return RetinaNet(pyramid, classes, head=head, score_thresh=MIN_SCORE)


def _fasterrcnn(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    pyramid = FeaturePyramid(features([4, 8, 16, 32]), settings.channels, LastLevelMaxPool())
    return FasterRCNN(pyramid, classes, box_score_thresh=MIN_SCORE)


def _ssdlite(_settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    maps = _StridedFeatures(features)
    channels = maps.out_channels
    anchors = DefaultBoxGenerator([[2, 3]] * len(channels), min_ratio=0.2, max_ratio=0.95)
    counts = anchors.num_anchors_per_location()
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    head = SSDLiteHead(channels, counts, classes, norm)
    # The size (1, 1) has no effect: it is for torchvision's resizing, which is replaced.
    return SSD(maps, anchors, (1, 1), classes, head=head, score_thresh=MIN_SCORE)


# The builder of each architecture and the label of its first class: 1 if 0 is the background.
BUILDERS: dict[str, tuple[Callable[..., Any], int]] = {
    "fcos": (fcos, 0),
    "retinanet": (_retinanet, 0),
    "fasterrcnn": (_fasterrcnn, 1),
    "ssdlite": (_ssdlite, 1),
}


def heads_of(model: Any) -> list[nn.Module]:
    """Return the layers that compute the scores and the boxes of a detector."""
    if isinstance(model, FasterRCNN):
        return [model.rpn.head, model.roi_heads.box_predictor]
    return [model.head]
# ~ else
    return model
# ~ endif
