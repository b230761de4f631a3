"""The network: a timm classifier that takes uint8 images."""

# ~ if cookiecutter.scope == "complete"
from typing import Any, Self

# ~ else
from typing import Any

# ~ endif
import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..settings.classification import ModelSettings
# ~ if cookiecutter.scope == "complete"
from ..training.backbone import (
    Normalisation,
    check_name,
    explain_failed_download,
    normalisation_for,
)
from ..training.initial_weights import TIMM_WEIGHTS, load_pretrained
from ..training.parameter_groups import keep_frozen_norms


# ~ else
from ..training.backbone import (
    Normalisation,
    check_name,
    explain_failed_download,
    normalisation_for,
)


# ~ endif
class Classifier(nn.Module):
    """A timm model, preceded by the image normalisation of its pretraining."""

    def __init__(self, backbone: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalisation = normalisation

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model, whose last layer is the classifier."""
        return self.backbone

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self)
        return self

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images [B, C, H, W], uint8 or float from 0 to 255."""
        logits: Tensor = self.backbone(self.normalisation(images))
        return logits


def build_network(
    settings: ModelSettings,
    *,
    classes: int,
    image_size: tuple[int, int],
    channels: int = 3,
    download: bool = True,
) -> Classifier:
    """Build the network that the settings specify, without downloads if ``download`` is false.

    A backbone whose input has a fixed size is built for ``image_size``, height and width in pixels.

    Raises:
        UsageError: if timm has no such backbone, or its weights cannot be downloaded.
    """
    name = settings.backbone
    if not name.startswith("hf-hub:"):
        check_name(name)
    options: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    config = timm.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size  # such as most vision transformers
    if fixed:
        options["img_size"] = image_size
    # ~ if cookiecutter.scope == "complete"
    pretrained = settings.pretrained in TIMM_WEIGHTS and download
    # ~ else
    pretrained = bool(settings.pretrained) and download
    # ~ endif
    with explain_failed_download(name, pretrained=pretrained):
        try:
            backbone = timm.create_model(
                name, pretrained=pretrained, drop_rate=settings.drop_rate, **options
            )
            if fixed:
                with torch.no_grad():
                    backbone.eval()(torch.zeros(1, channels, *image_size))
                backbone.train()
        except (AssertionError, RuntimeError) as error:
            if config is None or not fixed or (pretrained and isinstance(error, RuntimeError)):
                raise
            height, width = image_size
            raise UsageError(
                f"model.backbone={name} does not take images of {height} x {width} pixels: "
                f"{str(error).partition(chr(10))[0]}\n"
                f"It was made for data.image_size={config.input_size[1]}."
            ) from error
    trained = backbone.pretrained_cfg
    # ~ if cookiecutter.scope == "complete"
    network = Classifier(backbone, normalisation_for(trained["mean"], trained["std"], channels))
    if download:
        load_pretrained(network, pretrained=settings.pretrained, backbone=name)
    return network
    # ~ else
    return Classifier(backbone, normalisation_for(trained["mean"], trained["std"], channels))
    # ~ endif
