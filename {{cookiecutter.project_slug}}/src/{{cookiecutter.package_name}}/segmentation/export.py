"""The network to export, and how its outputs are decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import SegmentationModule

OUTPUTS = {"logits": "a value for each class and pixel; softmax over the classes: probabilities"}


def exported_network(module: SegmentationModule) -> nn.Module:
    """Return the network, which maps uint8 images [B, C, H, W] to logits [B, classes, H, W]."""
    return module.network


def postprocessing(_module: SegmentationModule, _network: nn.Module) -> dict[str, Any]:
    """Return a description of how predictions are computed from the outputs."""
    return {
        "steps": (
            "The class with the greatest logit is the label of a pixel. The part of the mask that "
            "the resized image covers is resized to the image by nearest-neighbour interpolation."
        )
    }


def decode_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """Return the only output, the logits [B, classes, H, W]."""
    (logits,) = outputs
    return logits
