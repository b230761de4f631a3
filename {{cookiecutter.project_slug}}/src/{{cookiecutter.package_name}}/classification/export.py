"""What is exported of this task: the network as it is, and how to read what it puts out."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import ClassificationModule

TASK = "image classification"
RESIZE = "the shorter side to this size, then the middle square"
OUTPUTS = {"logits": "one for each class; softmax makes probabilities of them"}

# For the model card: the same in Pillow's and numpy's words.
FIT = "ImageOps.fit(image, {size}, Image.Resampling.BILINEAR)"
USE = """\
odds = np.exp(logits[0] - logits[0].max())
best = odds.argmax()
print(about["classes"][best], odds[best] / odds.sum())
"""


def dense_network(module: ClassificationModule) -> nn.Module:
    """What is exported: takes uint8 images [B, 3, S, S], returns logits [B, classes]."""
    return module.network


def postprocessing(_module: ClassificationModule, _network: nn.Module) -> dict[str, Any]:
    """How to read the outputs."""
    return {"steps": "The class with the greatest logit is the label; its softmax is how sure."}


def from_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """What the network would have returned."""
    (logits,) = outputs
    return logits
