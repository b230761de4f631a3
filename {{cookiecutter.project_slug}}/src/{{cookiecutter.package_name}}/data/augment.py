"""Random changes of training images."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

# ~ if cookiecutter.task == "classification"
from ..settings.data import AugmentSettings
from .resize import GREY

# ~ else
from ..settings.data import AugmentSettings

# ~ endif
BLUR = (0.3, 2.0)  # standard deviation of the blur in pixels
ERASED = (0.02, 0.2)  # area of the erased rectangle, as a fraction of the image


def random_steps(augment: AugmentSettings, channels: int) -> list[nn.Module]:
    """Return the transforms that ``augment`` enables, for images that fit the model input.

    They draw random numbers from PyTorch only. A flip moves the targets with the image; all other
    transforms leave the targets as they are.

    Args:
        augment: the settings.
        # ~ if cookiecutter.task == "classification"
        channels: the number of channels of the images; the policy is applied only if it is 3.
        # ~ else
        channels: the number of channels of the images; the saturation is changed only if it is 3.
        # ~ endif
    """
    steps: list[nn.Module] = []
    # ~ if cookiecutter.task == "classification"
    if augment.rotate:
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(augment.rotate, interpolation=bilinear, fill=GREY))
    # ~ endif
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.flip_vertical:
        steps.append(v2.RandomVerticalFlip(augment.flip_vertical))
    # ~ if cookiecutter.task == "classification"
    if augment.policy and channels == 3:
        policies = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
        steps.append(policies[augment.policy](fill=GREY))
    # ~ endif
    if augment.color:
        steps.append(color_jitter(augment.color, channels))
    if augment.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(9, BLUR)], augment.blur))
    if augment.noise:
        steps.append(Noise(augment.noise))
    if augment.erase:
        steps.append(Erase(augment.erase))
    return steps


class Noise(nn.Module):
    """Add Gaussian noise whose strength is drawn for each image.

    Args:
        strength: the largest standard deviation, as a fraction of the range of values.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, image: Tensor, *targets: Any) -> Any:
        """Change an image, uint8 [C, H, W]; return the targets, if there are any, unchanged."""
        noise = torch.randn(image.shape) * (255 * self.strength * torch.rand(()))
        changed = (image.as_subclass(Tensor) + noise).round().clamp(0, 255).to(torch.uint8)
        changed = tv_tensors.wrap(changed, like=image)
        return (changed, *targets) if targets else changed


class Erase(nn.Module):
    """Replace a random rectangle of the image by grey, with a probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.erasing = v2.RandomErasing(probability, scale=ERASED, value=128)

    def forward(self, image: Tensor, *targets: Any) -> Any:
        """Change an image, uint8 [C, H, W]; return the targets, if there are any, unchanged."""
        changed = tv_tensors.wrap(self.erasing(image.as_subclass(Tensor)), like=image)
        return (changed, *targets) if targets else changed


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
