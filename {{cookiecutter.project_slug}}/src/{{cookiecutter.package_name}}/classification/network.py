"""The network: a timm backbone that takes images as they come from the files."""

from typing import Any

import timm
from torch import Tensor, nn

from ..settings.classification import ModelSettings
from ..training.backbone import Normalisation, check_name, explain_failed_download


class Classifier(nn.Module):
    """A backbone with its own normalisation."""

    def __init__(self, backbone: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalisation = normalisation

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each class.

        Args:
            images: uint8 tensor [B, 3, H, W], or a float tensor of the same range, 0 to 255.

        Returns:
            float tensor [B, classes].
        """
        logits: Tensor = self.backbone(self.normalisation(images))
        return logits


def build_network(
    settings: ModelSettings, *, classes: int, image_size: int, download: bool = True
) -> Classifier:
    """Build the network that the settings name.

    Args:
        settings: the model's settings.
        classes: how many there are.
        image_size: height and width of the images, in pixels.
        download: false where a checkpoint brings the weights.

    Raises:
        UsageError: if timm has no such backbone, or its weights cannot be had.
    """
    name = settings.backbone
    if not name.startswith("hf-hub:"):
        check_name(name)
    options: dict[str, Any] = {"num_classes": classes, "drop_rate": settings.drop_rate}
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:  # transformers, mostly: built for one size
        options["img_size"] = image_size
    pretrained = settings.pretrained and download
    with explain_failed_download(name, pretrained=pretrained):
        backbone = timm.create_model(name, pretrained=pretrained, **options)
    config = backbone.pretrained_cfg
    return Classifier(backbone, Normalisation(config["mean"], config["std"]))
