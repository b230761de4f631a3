"""What is exported of this task: the network as it is, and how to read what it puts out."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import SegmentationModule

TASK = "semantic segmentation"
RESIZE = "the whole image, stretched to this size"
OUTPUTS = {"logits": "one for each class and pixel; softmax over the classes makes probabilities"}

# For the model card: the same in Pillow's and numpy's words.
FIT = "image.resize({size}, Image.Resampling.BILINEAR)"
USE = """\
mask = Image.fromarray(logits[0].argmax(0).astype(np.uint8))
mask = mask.resize(image.size, Image.Resampling.NEAREST)
for index, pixels in enumerate(mask.histogram()[: len(about["classes"])]):
    print(about["classes"][index], pixels / mask.width / mask.height)
"""


def dense_network(module: SegmentationModule) -> nn.Module:
    """What is exported: takes uint8 images [B, 3, S, S], returns logits [B, classes, S, S]."""
    return module.network


def postprocessing(_module: SegmentationModule, _network: nn.Module) -> dict[str, Any]:
    """How to read the outputs."""
    return {
        "steps": (
            "The class with the greatest logit is the label of a pixel. Labels are brought to the "
            "size of the image by taking the nearest."
        )
    }


def from_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """What the network would have returned."""
    (logits,) = outputs
    return logits
