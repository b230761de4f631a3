"""Transforms of images, which are uint8 tensors, together with their masks."""

from collections.abc import Callable{{ ", Sequence" if cookiecutter.scope == "complete" }}

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

# ~ if cookiecutter.scope == "complete"
from ..data.augment import random_steps
# ~ endif
from ..data.resize import GREY, Fit
from ..settings.segmentation import DataSettings
from .class_list import IGNORE_INDEX

# ~ if cookiecutter.scope == "complete"
SOURCES = 2  # the number of images whose classes are pasted into an image
# ~ endif
PairTransform = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
# The pixels that a rotation or the padding adds.
FILL = {tv_tensors.Image: GREY, tv_tensors.Mask: IGNORE_INDEX}


def train_transform(settings: DataSettings) -> PairTransform:
    """Build the random transforms that ``data.augment`` enables, which return the model input."""
    augment = settings.augment
    steps: list[torch.nn.Module] = []
    if augment.rotate:
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(augment.rotate, interpolation=bilinear, fill=FILL))
    steps.append(Fit(settings, FILL, random=True))
    # ~ if cookiecutter.scope == "complete"
    steps += random_steps(augment, settings.channels)
    # ~ else
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        steps.append(v2.ColorJitter(augment.color, augment.color, augment.color))
    # ~ endif
    return ImageAndMask(v2.Compose(steps){{ ", augment.copy_paste" if cookiecutter.scope == "complete" }})


# ~ if cookiecutter.scope == "complete"
def paste(pairs: Sequence[tuple[Tensor, Tensor]], probability: float) -> tuple[Tensor, Tensor]:
    """Paste classes of the other images into the first one, each with this probability.

    With few images, a network memorises the scenes; in other scenes, it learns the shapes, as in
    ClassMix (Olsson et al., 2021). The class with the id 0 is not pasted: it is usually the
    background. ``pairs`` are images, uint8 [C, H, W], with their masks, uint8 [H, W].
    """
    (image, mask), *others = pairs
    for source, labels in others:
        pixels = labels[labels != IGNORE_INDEX].bincount()  # of each class
        objects = pixels[1:].nonzero()[:, 0] + 1
        pasted = torch.isin(labels, objects[torch.rand(len(objects)) < probability])
        image, mask = torch.where(pasted, source, image), torch.where(pasted, labels, mask)
    return image, mask


# ~ endif
def eval_transform(settings: DataSettings) -> PairTransform:
    """Fit the image into the model input; the padding of a mask is ``IGNORE_INDEX``."""
    return ImageAndMask(Fit(settings, FILL))


class ImageAndMask(torch.nn.Module):
    """Apply a torchvision transform to an image and, if given, to its mask."""

    def __init__(self, transform: torch.nn.Module{{ ", copy_paste: float = 0.0" if cookiecutter.scope == "complete" }}) -> None:
        super().__init__()
        # ~ if cookiecutter.scope == "complete"
        self.copy_paste = copy_paste  # the probability of ``paste``, which the data set calls
        # ~ endif
        self.transform = transform

    def forward(self, image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Transform an image, uint8 [C, H, W], and its mask, uint8 [H, W], if it is given."""
        if mask is None:
            return self.transform(tv_tensors.Image(image)).as_subclass(Tensor), None
        moved, ids = self.transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
        return moved.as_subclass(Tensor), ids.as_subclass(Tensor)
