# ~ if cookiecutter.scope == "complete"
"""torchvision's detectors with a timm backbone or, with ``pretrained=coco``, their own."""

# ~ else
"""torchvision's FCOS with a timm backbone."""

# ~ endif
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from ..settings.detection import ModelSettings
# ~ if cookiecutter.scope == "complete"
from .architectures import BUILDERS, heads_of
from .boxes import Prediction, Target
from .coco_pretrained import published_detector
from .feature_maps import TimmFeatures


# ~ else
from .architectures import fcos
from .boxes import Prediction, Target
from .feature_maps import TimmFeatures


# ~ endif
class ConvolutionalDetector(nn.Module):
    # ~ if cookiecutter.scope == "complete"
    """FCOS, RetinaNet, Faster R-CNN or SSDLite."""

    # ~ else
    """FCOS, which predicts a box at each position of its feature maps."""

    # ~ endif
    def __init__(
        self, settings: ModelSettings, classes: int, channels: int, *, pretrained: bool
    ) -> None:
        super().__init__()
        features = partial(
            TimmFeatures, settings.backbone, in_channels=channels, pretrained=pretrained
        )
        # ~ if cookiecutter.scope == "complete"
        build, self.first_label = BUILDERS[settings.architecture]
        labels = classes + self.first_label
        self.model: Any = (
            published_detector(settings.architecture, labels)
            if settings.pretrained == "coco"
            else build(settings, labels, features)
        )
        # bfloat16 is too coarse to rank scores, so boxes and scores are computed in float32.
        for head in heads_of(self.model):
            head.register_forward_hook(_in_float)
        anchors = getattr(self.model, "rpn", self.model).anchor_generator
        # ~ else
        self.model: Any = fcos(settings, classes, features)
        # bfloat16 is too coarse to rank scores, so boxes and scores are computed in float32.
        self.model.head.register_forward_hook(_in_float)
        anchors = self.model.anchor_generator
        # ~ endif
        anchors.register_forward_pre_hook(_from_float)  # anchors have the type of the feature maps
        # ~ if cookiecutter.scope == "complete"
        # Mean and standard deviation of the images that a COCO-pretrained detector was trained on.
        transform = self.model.transform
        self.statistics: tuple[Sequence[float], Sequence[float]]
        self.statistics = (transform.image_mean, transform.image_std)
        # ~ endif
        self.model.transform = _NoResizing()

    @property
    def backbone(self) -> nn.Module:
        """The timm model and the layers that compute its feature maps."""
        backbone: nn.Module = self.model.backbone
        return backbone

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model, or torchvision's own backbone."""
        backbone = self.model.backbone
        body: nn.Module = getattr(backbone, "body", None) or backbone.features
        return body.body if isinstance(body, TimmFeatures) else body

    # ~ endif
    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss terms, scalar tensors by name, for normalised images [B, C, H, W]."""
        sides = _sides(images)
        losses: dict[str, Tensor] = self.model(
            images,
            # ~ if cookiecutter.scope == "complete"
            [
                {"boxes": target.boxes * sides, "labels": target.labels + self.first_label}
                for target in targets
            ],
            # ~ else
            [{"boxes": target.boxes * sides, "labels": target.labels} for target in targets],
            # ~ endif
        )
        return losses

    def detect(self, images: Tensor) -> list[Prediction]:
        """Detect objects in normalised images [B, C, H, W]."""
        sides = _sides(images)
        return [
            # ~ if cookiecutter.scope == "complete"
            Prediction(
                result["boxes"] / sides, result["scores"], result["labels"] - self.first_label
            )
            # ~ else
            Prediction(result["boxes"] / sides, result["scores"], result["labels"])
            # ~ endif
            for result in self.model(images)
        ]


def _sides(images: Tensor) -> Tensor:
    """Return width, height, width and height of images [B, C, H, W], on their device."""
    height, width = images.shape[-2:]
    return torch.tensor([width, height, width, height], device=images.device)


class _NoResizing(nn.Module):
    """Replace torchvision's resizing and padding: all images of a batch have the same size."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        height, width = images.shape[-2:]
        return ImageList(images, [(height, width)] * len(images)), targets

    def postprocess(self, result: Any, _shapes: Any, _original: Any) -> Any:
        return result


def _in_float(_module: nn.Module, _inputs: object, outputs: object) -> object:
    return _to_float(outputs)


def _from_float(_module: nn.Module, inputs: tuple[ImageList, list[Tensor]]) -> object:
    return inputs[0], _to_float(inputs[1])


def _to_float(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _to_float(output) for name, output in outputs.items()}
    return [_to_float(output) for output in outputs]
