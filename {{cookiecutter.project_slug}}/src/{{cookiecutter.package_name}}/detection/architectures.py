# ~ if cookiecutter.scope == "complete"
"""The detectors of torchvision that ``model.architecture`` names."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

# ~ else
"""FCOS of torchvision with a timm backbone."""

from typing import Any

from torch import nn
from torchvision.models.detection import FCOS
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

# ~ endif
from ..settings.detection import ModelSettings
from .feature_maps import FeaturePyramid, FeaturesAt

# ~ if cookiecutter.scope == "complete"
GROUPS = 32  # number of groups of the group normalisation in the heads
# ~ endif
START = 2.0  # distance from a position to each side of its box in a new network
MIN_SCORE = 0.01  # boxes with lower scores hardly change mAP, but take time


def fcos(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    """Build FCOS (Tian et al. 2019, https://arxiv.org/abs/1904.01355) on a feature pyramid."""
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = FeaturePyramid(settings, 8, top, features)
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
    pyramid = FeaturePyramid(settings, 8, top, features)
    # Nine anchors at each position: three sizes times three aspect ratios.
    head = RetinaNetHead(settings.channels, 9, classes, norm_layer=partial(nn.GroupNorm, GROUPS))
    return RetinaNet(pyramid, classes, head=head, score_thresh=MIN_SCORE)


def _fasterrcnn(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    pyramid = FeaturePyramid(settings, 4, LastLevelMaxPool(), features)
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
