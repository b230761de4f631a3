"""The network to export, and how its outputs are decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import ClassificationModule

TASK = "image classification"
OUTPUTS = {"logits": "a value for each class; softmax makes probabilities of them"}

# Python code for the model card, which needs Pillow and NumPy instead of this project.
USE_CODE = """\
probabilities = np.exp(logits[0] - logits[0].max())
probabilities /= probabilities.sum()
best = probabilities.argmax()
print(description["classes"][best], probabilities[best])
"""


def exported_network(module: ClassificationModule) -> nn.Module:
    """Return the network, which maps uint8 images [B, 3, H, W] to logits [B, classes]."""
    return module.network


def postprocessing(_module: ClassificationModule, _network: nn.Module) -> dict[str, Any]:
    """Return a description of how predictions are computed from the outputs."""
    return {"steps": "The greatest logit is that of the label; its softmax is the confidence."}


def decode_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """Return the only output, the logits [B, classes]."""
    (logits,) = outputs
    return logits
