# ~ if cookiecutter.scope == "complete"
"""The network: a detector of torchvision that takes uint8 images, or D-FINE."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from ..errors import UsageError
from ..settings.schema import Settings
from ..training.backbone import (
    check_name,
    explain_failed_download,
    normalisation_for,
    normalisation_of,
)
from ..training.initial_weights import TIMM_WEIGHTS, load_pretrained
from .architectures import BUILDERS, TimmFeatures, heads_of
from .boxes import Prediction, Target
from .coco_pretrained import load_coco, published_detector
from .transformer import TransformerDetector


# ~ else
"""The network: FCOS of torchvision, which takes uint8 images."""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from ..settings.schema import Settings
from ..training.backbone import check_name, explain_failed_download, normalisation_of
from .architectures import TimmFeatures, fcos
from .boxes import Prediction, Target


# ~ endif
class Detector(nn.Module):
    # ~ if cookiecutter.scope == "complete"
    """FCOS, RetinaNet, Faster R-CNN or SSDLite, preceded by the normalisation of the images."""

    def __init__(self, settings: Settings, classes: int, *, pretrained: bool) -> None:
        super().__init__()
        chosen, channels = settings.model, settings.data.channels
        build, self.first_label = BUILDERS[chosen.architecture]
        labels = classes + self.first_label
        if chosen.pretrained == "coco":
            model = published_detector(chosen.architecture, labels)
            trained = model.transform  # it normalises images
            self.normalisation = normalisation_for(trained.image_mean, trained.image_std, channels)
        else:
            name = chosen.backbone
            features = partial(TimmFeatures, name, in_channels=channels, pretrained=pretrained)
            model = build(chosen, labels, features)
            self.normalisation = normalisation_of(name, channels)
        # bfloat16 is too coarse to rank scores, so boxes and scores are computed in float32.
        for head in heads_of(model):
            head.register_forward_hook(_in_float)
        anchors = getattr(model, "rpn", model).anchor_generator
        # ~ else
    """FCOS, which predicts a box at each position of its feature maps, on normalised images."""

    def __init__(self, settings: Settings, classes: int, *, download: bool = True) -> None:
        super().__init__()
        name, channels = settings.model.backbone, settings.data.channels
        check_name(name)
        pretrained = bool(settings.model.pretrained) and download
        features = partial(TimmFeatures, name, in_channels=channels, pretrained=pretrained)
        with explain_failed_download(name, pretrained=pretrained):
            model = fcos(settings.model, classes, features)
        self.normalisation = normalisation_of(name, channels)
        # bfloat16 is too coarse to rank scores, so boxes and scores are computed in float32.
        model.head.register_forward_hook(_in_float)
        anchors = model.anchor_generator
        # ~ endif
        anchors.register_forward_pre_hook(_from_float)  # anchors have the type of the feature maps
        model.transform = _NoResizing()
        self.model = nn.ModuleDict({"model": model})  # the names of weights begin with model.model

    @property
    def backbone(self) -> nn.Module:
        """The layers that compute the feature maps, whose shapes do not depend on the boxes."""
        return cast("nn.Module", self.model["model"].backbone)

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model, or with ``pretrained=coco`` the backbone of torchvision."""
        backbone: Any = self.backbone
        body: nn.Module = getattr(backbone, "body", None) or backbone.features
        return body.body if isinstance(body, TimmFeatures) else body

    # ~ endif
    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss terms of uint8 images [B, C, H, W], scalar tensors by name.

        It requires training mode. An image may have no objects.
        """
        sides = _sides(images)
        # ~ if cookiecutter.scope == "complete"
        objects = [
            {"boxes": target.boxes * sides, "labels": target.labels + self.first_label}
            for target in targets
        ]
        # ~ else
        objects = [{"boxes": target.boxes * sides, "labels": target.labels} for target in targets]
        # ~ endif
        losses: dict[str, Tensor] = self.model["model"](self.normalisation(images), objects)
        return losses

    def forward(self, images: Tensor) -> list[Prediction]:
        """Detect objects in uint8 images [B, C, H, W]; requires evaluation mode."""
        sides = _sides(images)
        return [
            # ~ if cookiecutter.scope == "complete"
            Prediction(
                result["boxes"] / sides, result["scores"], result["labels"] - self.first_label
            )
            # ~ else
            Prediction(result["boxes"] / sides, result["scores"], result["labels"])
            # ~ endif
            for result in self.model["model"](self.normalisation(images))
        ]


# ~ if cookiecutter.scope == "complete"
def build_network(
    settings: Settings, classes: int, *, download: bool = True
) -> Detector | TransformerDetector:
    """Build the network that the settings specify, without downloads if ``download`` is false."""
    chosen, channels = settings.model, settings.data.channels
    published = chosen.pretrained == "coco"
    if published and channels != 3:
        raise UsageError(
            f"model.pretrained=coco needs images of 3 channels, but data.channels={channels}: "
            "set model.pretrained=imagenet."
        )
    if not published:
        check_name(chosen.backbone)
    pretrained = chosen.pretrained in TIMM_WEIGHTS and download
    build: type[Detector | TransformerDetector] = Detector
    if chosen.architecture == "dfine":
        build = TransformerDetector
    with explain_failed_download(chosen.backbone, pretrained=pretrained):
        network = build(settings, classes, pretrained=pretrained)
    if published and download:
        load_coco(network, chosen.architecture)
    elif download:
        load_pretrained(network, pretrained=chosen.pretrained, backbone=chosen.backbone)
    return network


# ~ endif
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


# ~ if cookiecutter.scope == "complete"
def _in_float(_module: nn.Module, _inputs: object, outputs: Any) -> object:
    if isinstance(outputs, Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: output.float() for name, output in outputs.items()}
    return [_in_float(_module, _inputs, output) for output in outputs]


# ~ else
def _in_float(_module: nn.Module, _inputs: object, outputs: dict[str, Tensor]) -> object:
    return {name: output.float() for name, output in outputs.items()}


# ~ endif
def _from_float(_module: nn.Module, inputs: tuple[ImageList, list[Tensor]]) -> object:
    return inputs[0], [feature.float() for feature in inputs[1]]
