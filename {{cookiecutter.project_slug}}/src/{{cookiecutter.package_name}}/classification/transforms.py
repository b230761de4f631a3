"""Transforms of images, which are uint8 tensors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

# ~ if cookiecutter.scope == "complete"
from ..data.augment import random_steps
# ~ endif
from ..data.resize import Fit
from ..settings.classification import DataSettings

Transform = Callable[[Tensor], Tensor]


def train_transform(settings: DataSettings) -> Transform:
    """Build the random transforms that ``data.augment`` enables, which return the model input."""
    augment = settings.augment
    steps: list[torch.nn.Module] = [Fit(settings, random=True)]
    # ~ if cookiecutter.scope == "complete"
    steps += random_steps(augment, settings.channels)
    # ~ else
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        steps.append(v2.ColorJitter(augment.color, augment.color, augment.color))
    # ~ endif
    composed: Transform = v2.Compose(steps)
    return composed
