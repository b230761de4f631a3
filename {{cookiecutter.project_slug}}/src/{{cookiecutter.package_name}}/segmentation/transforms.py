"""What happens to an image and its mask between the files and the batch; both move together."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..settings.segmentation import DataSettings

PairTransform = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
_IGNORED = 255  # what a rotation brings in from outside the image


def train_transform(settings: DataSettings) -> PairTransform:
    """Random crop, flip, rotation and colour, as far as they are set, to S x S pixels."""
    size, augment = settings.image_size, settings.augment
    steps: list[torch.nn.Module] = []
    if augment.rotate:
        fill = {tv_tensors.Image: 128, tv_tensors.Mask: _IGNORED}
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(augment.rotate, interpolation=bilinear, fill=fill))
    if augment.crop_scale < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(augment.crop_scale, 1.0), antialias=True))
    else:
        steps.append(v2.Resize((size, size), antialias=True))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        strength = augment.color
        steps.append(v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength))
    return OnPairs(v2.Compose(steps))


def eval_transform(size: int) -> PairTransform:
    """The whole image, stretched to S x S pixels: nothing of it stays unjudged."""
    return OnPairs(v2.Resize((size, size), antialias=True))


class OnPairs(torch.nn.Module):
    """Apply a torchvision transform to an image, and in the same way to its mask if it has one."""

    def __init__(self, transform: torch.nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Change uint8 [3, H, W] and uint8 [H, W] together."""
        if mask is None:
            return self.transform(tv_tensors.Image(image)).as_subclass(Tensor), None
        moved, ids = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return moved.as_subclass(Tensor), ids.as_subclass(Tensor)
