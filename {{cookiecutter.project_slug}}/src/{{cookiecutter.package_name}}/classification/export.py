"""The network to export, and how its outputs are decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import ClassificationModule

TASK = "image classification"
OUTPUTS = {"logits": "a value for each class; see below for the probabilities"}

# Python code for the model card, which needs Pillow and NumPy instead of this project.
LABEL_CODE = """\
probabilities = np.exp(logits[0] - logits[0].max())
probabilities /= probabilities.sum()
best = probabilities.argmax()
print(description["classes"][best], probabilities[best])
"""
LABELS_CODE = """\
probabilities = 1 / (1 + np.exp(-logits[0]))
for index in np.flatnonzero(probabilities >= description["postprocessing"]["threshold"]):
    print(description["classes"][index], probabilities[index])
"""


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


def use_code(rules: Mapping[str, Any]) -> str:
    """Return Python code for the model card that prints the predictions for an image."""
    return LABELS_CODE if "threshold" in rules else LABEL_CODE


def decode_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """Return the only output, the logits [B, classes]."""
    (logits,) = outputs
    return logits
