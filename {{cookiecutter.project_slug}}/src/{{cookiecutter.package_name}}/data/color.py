"""Random changes of colour for images of any number of channels."""

from typing import Any

from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2


def color_jitter(strength: float, channels: int) -> nn.Module:
    """Return torchvision's ``ColorJitter``, in a form for images with other channels than RGB."""
    jitter: nn.Module = v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)
    return jitter if channels == 3 else _JitterOfPlanes(jitter)


class _JitterOfPlanes(nn.Module):
    """Change brightness and contrast by the same factor in each channel, as in a grey image."""

    def __init__(self, jitter: nn.Module) -> None:
        super().__init__()
        self.jitter = jitter

    def forward(self, image: Tensor, *targets: Any) -> Any:
        """Change an image, uint8 [C, H, W]; return the targets, if there are any, unchanged."""
        planes = self.jitter(image.as_subclass(Tensor)[:, None])[:, 0]
        changed = tv_tensors.wrap(planes, like=image)
        return (changed, *targets) if targets else changed
