"""The network: a detector that takes uint8 images and normalises them."""

# ~ if cookiecutter.scope == "complete"
from collections.abc import Sequence
from typing import Self

from torch import Tensor, nn

from ..errors import UsageError
# ~ else
from collections.abc import Sequence

from torch import Tensor, nn

# ~ endif
from ..settings.detection import ModelSettings
# ~ if cookiecutter.scope == "complete"
from ..training.backbone import (
    Normalisation,
    check_name,
    explain_failed_download,
    normalisation_for,
    normalisation_of,
)
from ..training.initial_weights import TIMM_WEIGHTS, load_fitting, load_pretrained
from ..training.parameter_groups import keep_frozen_norms
from .boxes import Prediction, Target
from .coco_pretrained import coco_weights
from .convolutional import ConvolutionalDetector
from .transformer import TransformerDetector


# ~ else
from ..training.backbone import Normalisation, check_name, explain_failed_download, normalisation_of
from .boxes import Prediction, Target
from .convolutional import ConvolutionalDetector


# ~ endif
class Detector(nn.Module):
    """A detector, preceded by the image normalisation that its pretrained weights need."""

    # ~ if cookiecutter.scope == "complete"
    def __init__(
        self, model: ConvolutionalDetector | TransformerDetector, normalisation: Normalisation
    ) -> None:
        # ~ else
    def __init__(self, model: ConvolutionalDetector, normalisation: Normalisation) -> None:
        # ~ endif
        super().__init__()
        self.model = model
        self.normalisation = normalisation

    @property
    def backbone(self) -> nn.Module:
        """The part to compile: the shapes of its tensors do not depend on the number of boxes."""
        return self.model.backbone

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """A timm model, or with ``pretrained=coco`` the backbone of torchvision or transformers."""
        return self.model.body

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self)
        return self

    # ~ endif
    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss terms of uint8 images [B, C, H, W], scalar tensors by name.

        It requires training mode. An image may have no objects.
        """
        return self.model.losses(self.normalisation(images), targets)

    def forward(self, images: Tensor) -> list[Prediction]:
        """Detect objects in uint8 images [B, C, H, W]; requires evaluation mode."""
        return self.model.detect(self.normalisation(images))


def build_network(
    settings: ModelSettings,
    *,
    classes: int,
    # ~ if cookiecutter.scope == "complete"
    image_size: tuple[int, int],
    # ~ endif
    channels: int = 3,
    download: bool = True,
) -> Detector:
    """Build the network that the settings specify, without downloads if ``download`` is false.

    # ~ if cookiecutter.scope == "complete"
    ``image_size``, height and width in pixels, limits the number of queries of ``dfine`` to the
    number of positions of its feature maps.

    # ~ endif
    Raises:
        UsageError: if timm has no such backbone, if the backbone lacks feature maps that the
            detector needs, or if its weights cannot be downloaded or do not fit the images.
    """
    name = settings.backbone
    # ~ if cookiecutter.scope == "complete"
    architecture, published = settings.architecture, settings.pretrained == "coco"
    if published and channels != 3:
        raise UsageError(
            f"model.pretrained=coco needs images of 3 channels, but data.channels={channels}: "
            "set model.pretrained=imagenet."
        )
    if not published:
        check_name(name)
    pretrained = settings.pretrained in TIMM_WEIGHTS and download
    model: ConvolutionalDetector | TransformerDetector
    with explain_failed_download(name, pretrained=pretrained):
        if architecture == "dfine":
            model = TransformerDetector(
                settings, classes, image_size, channels, pretrained=pretrained
            )
        else:
            model = ConvolutionalDetector(settings, classes, channels, pretrained=pretrained)
    if not published:
        network = Detector(model, normalisation_of(name, channels))
        if download:
            load_pretrained(network, pretrained=settings.pretrained, backbone=name)
        return network
    network = Detector(model, normalisation_for(*model.statistics, channels))
    if download:
        source = f"COCO for {architecture}"
        with explain_failed_download(source, pretrained=True):
            weights = coco_weights(architecture)
        named = {f"model.model.{name}": value for name, value in weights.items()}
        load_fitting(network, named, source)
    return network
    # ~ else
    check_name(name)
    pretrained = bool(settings.pretrained) and download
    with explain_failed_download(name, pretrained=pretrained):
        model = ConvolutionalDetector(settings, classes, channels, pretrained=pretrained)
    return Detector(model, normalisation_of(name, channels))
    # ~ endif
