"""The network: a detector with a timm backbone that takes uint8 images."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..settings.detection import ModelSettings
from ..training.backbone import Normalisation, check_name, explain_failed_download, normalisation_of
from .boxes import Prediction, Target
from .convolutional import ConvolutionalDetector
from .transformer import TransformerDetector


class Detector(nn.Module):
    """A detector, preceded by the image normalisation of its backbone's pretraining."""

    def __init__(
        self, model: ConvolutionalDetector | TransformerDetector, normalisation: Normalisation
    ) -> None:
        super().__init__()
        self.model = model
        self.normalisation = normalisation

    @property
    def backbone(self) -> nn.Module:
        """The part to compile: the shapes of its tensors do not depend on the number of boxes."""
        return self.model.backbone

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the loss terms, scalar tensors by name; requires training mode.

        Args:
            images: uint8 tensor [B, C, H, W].
            targets: the annotated objects of each image; an image may have no objects.
        """
        return self.model.losses(self.normalisation(images), targets)

    def forward(self, images: Tensor) -> list[Prediction]:
        """Detect objects in uint8 images [B, C, H, W]; requires evaluation mode."""
        return self.model.detect(self.normalisation(images))


def build_network(
    settings: ModelSettings,
    *,
    classes: int,
    image_size: tuple[int, int],
    channels: int = 3,
    download: bool = True,
) -> Detector:
    """Build the network that the settings specify, without downloads if ``download`` is false.

    ``dfine`` has no more queries than its feature maps have positions for images of ``image_size``,
    height and width in pixels.

    Raises:
        UsageError: if timm has no such backbone, if the backbone lacks feature maps that the
            detector needs, or if its weights cannot be downloaded.
    """
    name = settings.backbone
    check_name(name)
    pretrained = settings.pretrained and download
    model: ConvolutionalDetector | TransformerDetector
    with explain_failed_download(name, pretrained=pretrained):
        if settings.architecture == "dfine":
            model = TransformerDetector(
                settings, classes, image_size, channels, pretrained=pretrained
            )
        else:
            model = ConvolutionalDetector(settings, classes, channels, pretrained=pretrained)
    return Detector(model, normalisation_of(name, channels))
