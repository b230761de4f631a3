"""Random changes of colour for images of any number of channels."""

from typing import Any

from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2


def color_jitter(strength: float, channels: int) -> nn.Module:
    """Return torchvision's ``ColorJitter``, in a form for images with other channels than RGB."""
    jitter = v2.ColorJitter if channels == 3 else _JitterOfPlanes
    transform: nn.Module = jitter(brightness=strength, contrast=strength, saturation=strength)
    return transform


class _JitterOfPlanes(v2.ColorJitter):
    """Change brightness and contrast by the same factor in each channel, as in a grey image."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, (tv_tensors.BoundingBoxes, tv_tensors.Mask)):
            return inpt
        planes = super().transform(inpt.as_subclass(Tensor)[:, None], params)
        return tv_tensors.Image(planes[:, 0])
