"""The network: a segmentation-models-pytorch architecture with a timm encoder."""

from typing import Any, cast

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from ..errors import UsageError
from ..settings.schema import Settings
from ..settings.segmentation import ModelSettings
# ~ if cookiecutter.scope == "complete"
from ..training.backbone import check_name, explain_failed_download, normalisation_of
from ..training.initial_weights import TIMM_WEIGHTS, load_pretrained


# ~ else
from ..training.backbone import check_name, explain_failed_download, normalisation_of


# ~ endif
class Segmenter(nn.Module):
    """A segmentation model, preceded by the image normalisation of its encoder's pretraining.

    A backbone whose input has a fixed size is built for the size of the images.
    """

    def __init__(self, settings: Settings, classes: int, *, download: bool = True) -> None:
        super().__init__()
        chosen, name = settings.model, settings.model.backbone
        known = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
        if chosen.architecture.lower() not in known:
            raise UsageError(
                f"model.architecture={chosen.architecture}: there is no such architecture.\n"
                f"Choose from: {', '.join(known)}."
            )
        check_name(name)
        options: dict[str, Any] = _decoder(chosen)
        config = timm.get_pretrained_cfg(name)
        if config is not None and config.fixed_input_size:  # such as Swin
            options["img_size"] = settings.data.input_size
        # ~ if cookiecutter.scope == "complete"
        pretrained = chosen.pretrained in TIMM_WEIGHTS and download
        # ~ else
        pretrained = bool(chosen.pretrained) and download
        # ~ endif
        with explain_failed_download(name, pretrained=pretrained):
            try:
                self.model: nn.Module = smp.create_model(
                    chosen.architecture,
                    encoder_name=f"tu-{name}",
                    encoder_weights="imagenet" if pretrained else None,
                    in_channels=settings.data.channels,
                    classes=classes,
                    **options,
                )
            except (AssertionError, AttributeError, TypeError, ValueError) as error:
                raise UsageError(
                    f"model.backbone={name} does not fit model.architecture={chosen.architecture}: "
                    f"{error}\nChoose a backbone with feature maps of several sizes, such as "
                    "resnet18 or convnext_tiny."
                ) from error
        # ~ if cookiecutter.scope == "complete"
        if download:
            load_pretrained(self, pretrained=chosen.pretrained, backbone=name)
        # ~ endif
        self.normalisation = normalisation_of(name, settings.data.channels)

    @property
    def backbone(self) -> nn.Module:
        """The encoder, a timm model."""
        return cast("nn.Module", self.model.encoder)

    # ~ if cookiecutter.scope == "complete"
    @property
    def body(self) -> nn.Module:
        """The timm model within the encoder."""
        return cast("nn.Module", getattr(self.backbone, "model", self.backbone))

    # ~ endif
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes, H, W] of images [B, C, H, W] with values from 0 to 255."""
        logits: Tensor = self.model(self.normalisation(images))
        return logits


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
