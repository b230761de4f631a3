"""The network to export, and how its outputs are decoded."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .module import SegmentationModule

TASK = "semantic segmentation"
OUTPUTS = {"logits": "a value for each class and pixel; softmax over the classes: probabilities"}

# Python code for the model card, which needs Pillow and NumPy instead of this project.
USE_CODE = """\
mask = Image.new("L", size, 255)  # 255 stays where the image was cut off
mask.paste(Image.fromarray(logits[0].argmax(0).astype(np.uint8)), (-left, -top))
mask = mask.resize(image.size, Image.Resampling.NEAREST)
pixels = mask.histogram()[:255]
for index, name in enumerate(description["classes"]):
    print(name, pixels[index] / sum(pixels))  # fraction of the image
"""


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


def use_code(_rules: Mapping[str, Any]) -> str:
    """Return Python code for the model card that prints the predictions for an image."""
    return USE_CODE


def decode_outputs(outputs: Sequence[Tensor], _rules: Mapping[str, Any]) -> Tensor:
    """Return the only output, the logits [B, classes, H, W]."""
    (logits,) = outputs
    return logits
