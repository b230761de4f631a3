"""The network: a segmentation-models-pytorch architecture with a timm encoder."""

# ~ if cookiecutter.scope == "complete"
from typing import Self, cast

# ~ else
from typing import cast

# ~ endif
import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from ..errors import UsageError
from ..settings.segmentation import ModelSettings
# ~ if cookiecutter.scope == "complete"
from ..training.backbone import Normalisation, check_name, explain_failed_download, normalisation_of
from ..training.initial_weights import TIMM_WEIGHTS, load_pretrained
from ..training.parameter_groups import keep_frozen_norms


# ~ else
from ..training.backbone import Normalisation, check_name, explain_failed_download, normalisation_of


# ~ endif
class Segmenter(nn.Module):
    """A segmentation model, preceded by the image normalisation of its encoder's pretraining."""

    def __init__(self, model: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.model = model
        self.normalisation = normalisation

    @property
    def backbone(self) -> nn.Module:
        """The encoder, a timm model."""
        return cast("nn.Module", self.model.encoder)

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model within the encoder."""
        return cast("nn.Module", getattr(self.backbone, "model", self.backbone))

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002
        """Switch to training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        keep_frozen_norms(self)
        return self

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes, H, W] of images [B, C, H, W] with values from 0 to 255."""
        logits: Tensor = self.model(self.normalisation(images))
        return logits


def build_network(
    settings: ModelSettings,
    *,
    classes: int,
    channels: int = 3,
    image_size: tuple[int, int] | None = None,
    download: bool = True,
) -> Segmenter:
    """Build the network that the settings specify, without downloads if ``download`` is false.

    A backbone whose input has a fixed size is built for ``image_size``, height and width in pixels.

    Raises:
        UsageError: if there is no such architecture or backbone, the backbone does not fit the
            architecture, or the weights cannot be downloaded.
    """
    known = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
    if settings.architecture.lower() not in known:
        raise UsageError(
            f"model.architecture={settings.architecture}: there is no such architecture.\n"
            f"Choose from: {', '.join(known)}."
        )
    name = settings.backbone
    check_name(name)
    config = timm.get_pretrained_cfg(name)
    fixed = config is not None and config.fixed_input_size  # such as Swin
    size = {"img_size": image_size} if fixed and image_size is not None else {}
    # ~ if cookiecutter.scope == "complete"
    pretrained = settings.pretrained in TIMM_WEIGHTS and download
    # ~ else
    pretrained = bool(settings.pretrained) and download
    # ~ endif
    with explain_failed_download(name, pretrained=pretrained):
        try:
            model = smp.create_model(
                settings.architecture,
                encoder_name=f"tu-{name}",
                encoder_weights="imagenet" if pretrained else None,
                in_channels=channels,
                classes=classes,
                **_decoder(settings),
                **size,
            )
        except (AssertionError, AttributeError, TypeError, ValueError) as error:
            raise UsageError(
                f"model.backbone={name} does not fit model.architecture={settings.architecture}: "
                f"{error}\nChoose a backbone with feature maps of several sizes, such as resnet18 "
                "or convnext_tiny."
            ) from error
    # ~ if cookiecutter.scope == "complete"
    network = Segmenter(model, normalisation_of(name, channels))
    if download:
        load_pretrained(network, pretrained=settings.pretrained, backbone=name)
    return network


    # ~ else
    return Segmenter(model, normalisation_of(name, channels))


# ~ endif
def _decoder(settings: ModelSettings) -> dict[str, int | list[int]]:
    """Return ``model.decoder_channels`` as arguments of the architecture."""
    channels = settings.decoder_channels
    match settings.architecture.lower():
        case "unet" | "unetplusplus" | "manet":  # halved from block to block
            return {"decoder_channels": [max(channels >> step, 16) for step in range(5)]}
        case "fpn":  # the second number must be a multiple of 32
            half = max(channels // 64, 1) * 32
            return {"decoder_pyramid_channels": channels, "decoder_segmentation_channels": half}
        case "deeplabv3" | "deeplabv3plus" | "pan" | "upernet":
            return {"decoder_channels": channels}
        case "segformer":
            return {"decoder_segmentation_channels": channels}
        case "dpt":
            return {"decoder_fusion_channels": channels}
        case _:  # linknet and pspnet have none
            return {}
