"""The network: a timm backbone that takes images as they come from the files."""

import difflib
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError
from .settings import ModelSettings


class Classifier(nn.Module):
    """A backbone with its own normalisation, so that nobody downstream can forget it."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of each class.

        Args:
            images: uint8 tensor [B, 3, H, W], or a float tensor of the same range, 0 to 255.

        Returns:
            float tensor [B, classes].
        """
        logits: Tensor = self.backbone((images.to(self.mean.dtype) - self.mean) / self.std)
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
    if not name.startswith("hf-hub:") and not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise UsageError(f"model.backbone={name}: timm has no such model.\n{hint}")
    options: dict[str, Any] = {"num_classes": classes, "drop_rate": settings.drop_rate}
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:  # transformers, mostly: built for one size
        options["img_size"] = image_size
    pretrained = settings.pretrained and download
    try:
        backbone = timm.create_model(name, pretrained=pretrained, **options)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise UsageError(
            f"model.pretrained=true: no weights of {name} to be had.\n  {_first_line(error)}\n"
            "They are downloaded once, then kept: connect to the network for the first run,\n"
            "or point HF_HOME to a cache that holds them and set HF_HUB_OFFLINE=1,\n"
            "or train from scratch with model.pretrained=false."
        ) from error
    config = backbone.pretrained_cfg
    return Classifier(backbone, config["mean"], config["std"])


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
