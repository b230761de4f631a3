"""The network: a detector on a timm backbone that takes images as they come from the files."""

from collections.abc import Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from ..settings.detection import ModelSettings
from ..training.backbone import Normalisation, check_name, explain_failed_download, normalisation_of
from .boxes import Prediction, Target
from .convolutional import ConvolutionalDetector
from .transformer import TransformerDetector


class Inner(Protocol):
    """What both kinds of detectors do with normalised images [B, 3, S, S]."""

    @property
    def backbone(self) -> nn.Module:
        """The timm model."""

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The parts of the loss, by name."""
        ...

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes, scores and labels for each image."""
        ...


class Detector(nn.Module):
    """A detector with its own normalisation."""

    def __init__(self, model: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.model = model
        self.normalisation = normalisation

    @property
    def backbone(self) -> nn.Module:
        """The part that is worth compiling: its shapes do not depend on the number of boxes."""
        return cast("Inner", self.model).backbone

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The parts of the loss, by name; in training mode only.

        Args:
            images: uint8 tensor [B, 3, S, S].
            targets: the objects of each image; there may be none.
        """
        return cast("Inner", self.model).losses(self.normalisation(images), targets)

    def forward(self, images: Tensor) -> list[Prediction]:
        """Find the objects in uint8 images [B, 3, S, S]; in evaluation mode only."""
        found = cast("Inner", self.model).detect(self.normalisation(images))
        return [Prediction(*one) for one in found]


def build_network(
    settings: ModelSettings, *, classes: int, image_size: int, download: bool = True
) -> Detector:
    """Build the network that the settings name.

    Args:
        settings: the model's settings.
        classes: how many there are.
        image_size: height and width of the images, in pixels.
        download: false where a checkpoint brings the weights.

    Raises:
        UsageError: if timm has no such backbone, it cannot serve a detector, or its weights cannot
            be had.
    """
    name = settings.backbone
    check_name(name)
    pretrained = settings.pretrained and download
    model: nn.Module
    with explain_failed_download(name, pretrained=pretrained):
        if settings.architecture == "dfine":
            model = TransformerDetector(settings, classes, image_size, pretrained=pretrained)
        else:
            model = ConvolutionalDetector(settings, classes, pretrained=pretrained)
    return Detector(model, normalisation_of(name))
