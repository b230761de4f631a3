"""The network to export, and how its outputs are decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import ClassificationModule

OUTPUTS = {"logits": "a value for each class; see below for the probabilities"}


def exported_network(module: ClassificationModule) -> nn.Module:
    """Return the network, which maps uint8 images [B, C, H, W] to logits [B, classes]."""
    return module.network


def postprocessing(module: ClassificationModule, _network: nn.Module) -> dict[str, Any]:
    """Return a description of how predictions are computed from the outputs."""
    if module.threshold is None:
        return {
            "activation": "softmax",
            "steps": "The greatest logit is that of the label; its softmax is the confidence.",
        }
    return {
        "activation": "sigmoid",
        "threshold": module.threshold,
        "steps": (
            "An image may have several labels, or none: the sigmoid of each logit is the "
            "probability of its class, which is a label if it reaches the threshold."
        ),
    }


def decode_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """Return the only output, the logits [B, classes]."""
    (logits,) = outputs
    return logits
