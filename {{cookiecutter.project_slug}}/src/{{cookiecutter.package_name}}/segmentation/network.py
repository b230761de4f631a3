"""The network: a segmentation-models-pytorch architecture on a timm encoder."""

import difflib

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError
from .settings import ModelSettings


class Segmenter(nn.Module):
    """An architecture with its own normalisation, so that nobody downstream can forget it."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each class for each pixel.

        Args:
            images: uint8 tensor [B, 3, H, W], or a float tensor of the same range, 0 to 255.

        Returns:
            float tensor [B, classes, H, W].
        """
        logits: Tensor = self.model((images.to(self.mean.dtype) - self.mean) / self.std)
        return logits


U_SHAPED = {"unet", "unetplusplus", "manet"}


def build_network(settings: ModelSettings, *, classes: int, download: bool = True) -> Segmenter:
    """Build the network that the settings name.

    Args:
        settings: the model's settings.
        classes: how many there are.
        download: false where a checkpoint brings the weights.

    Raises:
        UsageError: if there is no such architecture or backbone, or its weights cannot be had.
    """
    known = sorted(smp.MODEL_ARCHITECTURES_MAPPING)
    if settings.architecture.lower() not in known:
        raise UsageError(
            f"model.architecture={settings.architecture}: there is no such architecture.\n"
            f"These are: {', '.join(known)}."
        )
    name = settings.backbone
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise UsageError(f"model.backbone={name}: timm has no such model.\n{hint}")
    pretrained = settings.pretrained and download
    try:
        model = smp.create_model(
            settings.architecture,
            encoder_name=f"tu-{name}",
            encoder_weights="imagenet" if pretrained else None,
            classes=classes,
            **_decoder(settings),
        )
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UsageError(
            f"model.pretrained=true: no weights of {name} to be had.\n"
            f"  {type(error).__name__}: {str(error).splitlines()[0]}\n"
            "They are downloaded once, then kept: connect to the network for the first run,\n"
            "or point HF_HOME to a cache that holds them and set HF_HUB_OFFLINE=1,\n"
            "or train from scratch with model.pretrained=false."
        ) from error
    config = timm.get_pretrained_cfg(name)
    mean, std = (
        (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return Segmenter(model, mean, std)


def _decoder(settings: ModelSettings) -> dict[str, list[int]]:
    """From step to step, there are twice as many pixels a side and half as many channels."""
    if settings.architecture.lower() not in U_SHAPED:
        return {}
    return {"decoder_channels": [max(settings.decoder_channels >> step, 16) for step in range(5)]}
