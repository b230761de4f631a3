"""Transforms of images, which are uint8 tensors, together with their masks."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..data.color import color_jitter
from ..settings.segmentation import DataSettings

PairTransform = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
_IGNORED = 255  # the id of pixels outside the original image, which a rotation adds


def train_transform(settings: DataSettings) -> PairTransform:
    """Build the random transforms that ``data.augment`` enables; images become S x S pixels."""
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
        steps.append(color_jitter(augment.color, settings.channels))
    return ImageAndMask(v2.Compose(steps))


def eval_transform(size: int) -> PairTransform:
    """Resize the whole image to S x S pixels, so that every part of it is evaluated."""
    return ImageAndMask(v2.Resize((size, size), antialias=True))


class ImageAndMask(torch.nn.Module):
    """Apply a torchvision transform to an image and, if given, to its mask."""

    def __init__(self, transform: torch.nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Transform an image, uint8 [C, H, W], and its mask, uint8 [H, W], if it is given."""
        if mask is None:
            return self.transform(tv_tensors.Image(image)).as_subclass(Tensor), None
        moved, ids = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return moved.as_subclass(Tensor), ids.as_subclass(Tensor)
