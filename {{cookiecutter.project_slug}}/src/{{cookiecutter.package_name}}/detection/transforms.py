"""Transforms of images, which are uint8 tensors, together with their boxes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..data.color import color_jitter
from ..settings.detection import DataSettings
from .boxes import Target

PairTransform = Callable[[Tensor, Target | None], tuple[Tensor, Target | None]]
MIN_SIDE = 2.0  # pixels; objects whose cropped box is narrower or lower are dropped


def train_transform(settings: DataSettings) -> PairTransform:
    """Build the random transforms that ``data.augment`` enables; images become S x S pixels."""
    size, augment = settings.image_size, settings.augment
    steps: list[torch.nn.Module] = []
    if augment.rotate:
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(augment.rotate, interpolation=bilinear, fill=128))
    if augment.crop_scale < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(augment.crop_scale, 1.0), antialias=True))
    else:
        steps.append(v2.Resize((size, size), antialias=True))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        steps.append(color_jitter(augment.color, settings.channels))
    return OnBoxes(v2.Compose([*steps, v2.ClampBoundingBoxes()]))


def eval_transform(size: int) -> PairTransform:
    """Resize the whole image to S x S pixels; boxes do not change, since they are relative."""
    return OnImages(v2.Resize((size, size), antialias=True))


class OnImages(torch.nn.Module):
    """Apply a torchvision transform that leaves the relative boxes unchanged."""

    def __init__(self, transform: torch.nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor, target: Target | None) -> tuple[Tensor, Target | None]:
        """Transform the image, uint8 [C, H, W]; return the target unchanged."""
        return self.transform(tv_tensors.Image(image)).as_subclass(Tensor), target


class OnBoxes(OnImages):
    """Apply a torchvision transform to an image and to its boxes."""

    def forward(self, image: Tensor, target: Target | None) -> tuple[Tensor, Target | None]:
        """Transform an image, uint8 [C, H, W]; drop crowds and objects outside of the result."""
        if target is None:
            return super().forward(image, target)
        height, width = image.shape[1:]
        boxes = target.boxes * torch.tensor([width, height, width, height])
        pair = (
            tv_tensors.Image(image),
            tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        )
        image, boxes = (part.as_subclass(Tensor) for part in self.transform(*pair))
        height, width = image.shape[1:]
        visible = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(dim=1) & ~target.crowd
        relative = boxes / torch.tensor([width, height, width, height])
        return image, Target(
            relative[visible],
            target.labels[visible],
            target.crowd[visible],
            target.areas[visible],
            target.size,
        )
