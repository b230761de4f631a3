"""torchvision's detectors with a timm backbone."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from ..settings.detection import ModelSettings
from .boxes import Prediction, Target
from .feature_maps import TimmFeatures

MIN_SCORE = 0.01  # boxes with lower scores hardly change mAP, but take time
GROUPS = 32  # number of groups of the group normalisation in the heads

FeaturesAt = Callable[[Sequence[int]], TimmFeatures]  # the feature maps at the given strides


class ConvolutionalDetector(nn.Module):
    """FCOS, RetinaNet, Faster R-CNN or SSDLite."""

    def __init__(
        self, settings: ModelSettings, classes: int, channels: int, *, pretrained: bool
    ) -> None:
        super().__init__()
        build, self.first_label = _BUILDERS[settings.architecture]
        features = partial(
            TimmFeatures, settings.backbone, in_channels=channels, pretrained=pretrained
        )
        self.model: Any = build(settings, classes + self.first_label, features)
        self.model.transform = _NoResizing()
        for head in _heads(self.model):
            # bfloat16 is too coarse to rank scores, so boxes and scores are computed in float32.
            head.register_forward_hook(_in_float)

    @property
    def backbone(self) -> nn.Module:
        """The timm model and the layers that compute its feature maps."""
        backbone: nn.Module = self.model.backbone
        return backbone

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss terms, scalar tensors by name, for normalised images [B, C, H, W]."""
        sides = _sides(images)
        losses: dict[str, Tensor] = self.model(
            images,
            [
                {"boxes": target.boxes * sides, "labels": target.labels + self.first_label}
                for target in targets
            ],
        )
        return losses

    def detect(self, images: Tensor) -> list[Prediction]:
        """Detect objects in normalised images [B, C, H, W]."""
        sides = _sides(images)
        return [
            Prediction(
                result["boxes"] / sides, result["scores"], result["labels"] - self.first_label
            )
            for result in self.model(images)
        ]


def _sides(images: Tensor) -> Tensor:
    """Return width, height, width and height of images [B, 3, H, W], on their device."""
    height, width = images.shape[-2:]
    return torch.tensor([width, height, width, height], device=images.device)


class _NoResizing(nn.Module):
    """Replace torchvision's resizing and padding: all images of a batch have the same size."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        height, width = images.shape[-2:]
        return ImageList(images, [(height, width)] * len(images)), targets

    def postprocess(self, result: Any, _shapes: Any, _original: Any) -> Any:
        return result


class _FeaturePyramid(nn.Module):
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
        features = self.body(images)
        maps: OrderedDict[str, Tensor] = self.fpn(
            OrderedDict((str(level), feature) for level, feature in enumerate(features))
        )
        return maps


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


def _fcos(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = _FeaturePyramid(settings, 8, top, features)
    return FCOS(pyramid, classes, score_thresh=MIN_SCORE)


def _retinanet(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    top = LastLevelP6P7(settings.channels, settings.channels)
    pyramid = _FeaturePyramid(settings, 8, top, features)
    # Nine anchors at each position: three sizes times three aspect ratios.
    head = RetinaNetHead(settings.channels, 9, classes, norm_layer=partial(nn.GroupNorm, GROUPS))
    return RetinaNet(pyramid, classes, head=head, score_thresh=MIN_SCORE)


def _fasterrcnn(settings: ModelSettings, classes: int, features: FeaturesAt) -> Any:
    pyramid = _FeaturePyramid(settings, 4, LastLevelMaxPool(), features)
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
_BUILDERS: dict[str, tuple[Callable[..., Any], int]] = {
    "fcos": (_fcos, 0),
    "retinanet": (_retinanet, 0),
    "fasterrcnn": (_fasterrcnn, 1),
    "ssdlite": (_ssdlite, 1),
}


def _heads(model: Any) -> list[nn.Module]:
    if isinstance(model, FasterRCNN):
        return [model.rpn.head, model.roi_heads.box_predictor]
    return [model.head]


def _in_float(_module: nn.Module, _inputs: object, outputs: object) -> object:
    return _to_float(outputs)


def _to_float(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _to_float(output) for name, output in outputs.items()}
    return [_to_float(output) for output in outputs]
