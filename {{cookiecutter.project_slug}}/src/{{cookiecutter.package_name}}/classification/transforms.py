"""Transforms of images, which are uint8 tensors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from ..data.color import color_jitter
from ..settings.classification import DataSettings

Transform = Callable[[Tensor], Tensor]


def train_transform(settings: DataSettings) -> Transform:
    """Build the random transforms that ``data.augment`` enables, uint8 [C, H, W] to [C, S, S]."""
    size, augment = settings.image_size, settings.augment
    steps: list[torch.nn.Module] = []
    if augment.crop_scale < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(augment.crop_scale, 1.0), antialias=True))
    else:
        steps.append(_fit(size))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        steps.append(color_jitter(augment.color, settings.channels))
    composed: Transform = v2.Compose(steps)
    return composed


def eval_transform(size: int) -> Transform:
    """Resize the shorter side to S pixels and crop the centre: uint8 [C, H, W] to [C, S, S]."""
    return _fit(size)


def _fit(size: int) -> torch.nn.Module:
    fit: torch.nn.Module = v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])
    return fit
