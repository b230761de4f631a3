"""The network: a detector on a timm backbone that takes images as they come from the files."""

import difflib
from collections.abc import Sequence
from typing import Protocol, cast

import timm
import torch
from torch import Tensor, nn

from ..errors import UsageError
from .boxes import Prediction, Target
from .convolutional import ConvolutionalDetector
from .settings import ModelSettings
from .transformer import TransformerDetector


class Inner(Protocol):
    """What both kinds of detectors do with normalised images [B, 3, S, S]."""

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The parts of the loss, by name."""
        ...

    def detect(self, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes, scores and labels for each image."""
        ...


class Detector(nn.Module):
    """A detector with its own normalisation, so that nobody downstream can forget it."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The parts of the loss, by name; in training mode only.

        Args:
            images: uint8 tensor [B, 3, S, S].
            targets: the objects of each image; there may be none.
        """
        return cast("Inner", self.model).losses(self._normalised(images), targets)

    def forward(self, images: Tensor) -> list[Prediction]:
        """Find the objects in uint8 images [B, 3, S, S]; in evaluation mode only."""
        found = cast("Inner", self.model).detect(self._normalised(images))
        return [Prediction(*one) for one in found]

    def _normalised(self, images: Tensor) -> Tensor:
        return (images.to(self.mean.dtype) - self.mean) / self.std


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
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists them."
        raise UsageError(f"model.backbone={name}: timm has no such model.\n{hint}")
    pretrained = settings.pretrained and download
    model: nn.Module
    try:
        if settings.architecture == "dfine":
            model = TransformerDetector(settings, classes, image_size, pretrained=pretrained)
        else:
            model = ConvolutionalDetector(settings, classes, pretrained=pretrained)
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
    return Detector(model, mean, std)
