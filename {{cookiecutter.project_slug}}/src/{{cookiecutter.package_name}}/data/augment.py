"""Random changes of training images."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..settings.data import AugmentSettings
from .resize import GREY

BLUR = (0.3, 2.0)  # standard deviation of the blur in pixels
ERASED = (0.02, 0.2)  # area of the erased rectangle, as a fraction of the image


def random_steps(augment: AugmentSettings, channels: int) -> list[nn.Module]:
    """Return the transforms that ``augment`` enables, for images that fit the model input.

    They draw random numbers from PyTorch only. A flip moves the targets with the image; all other
    transforms leave the targets as they are.
    # ~ if cookiecutter.task == "classification"
    The policy is applied to images of three channels only.
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
        steps.append(OnImage(partial(add_noise, strength=augment.noise)))
    if augment.erase:
        steps.append(OnImage(v2.RandomErasing(augment.erase, scale=ERASED, value=GREY)))
    return steps


class OnImage(nn.Module):
    """Apply a function to an image, uint8 [C, H, W], and leave its targets as they are."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor, *targets: Any) -> Any:
        """Return the changed image, with the targets if there are any."""
        changed = tv_tensors.wrap(self.function(image.as_subclass(Tensor)), like=image)
        return (changed, *targets) if targets else changed


def add_noise(image: Tensor, strength: float) -> Tensor:
    """Add Gaussian noise of a random standard deviation, at most ``255 * strength``."""
    noise = torch.randn(image.shape) * (255 * strength * torch.rand(()))
    return (image + noise).round().clamp(0, 255).to(torch.uint8)


def color_jitter(strength: float, channels: int) -> nn.Module:
    """Return ``v2.ColorJitter``; if not three, the channels are changed like grey images."""
    jitter: nn.Module = v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)
    if channels == 3:
        return jitter
    planes = [partial(torch.unsqueeze, dim=1), jitter, partial(torch.squeeze, dim=1)]
    return OnImage(v2.Compose(planes))
