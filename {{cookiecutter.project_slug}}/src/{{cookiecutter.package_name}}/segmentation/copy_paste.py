"""Paste objects of other training images into an image (``data.augment.copy_paste``).

With few images, a network memorises the scenes. Objects that are pasted into other scenes make it
learn their shape instead. As in ClassMix (Olsson et al., 2021), an object is all pixels of a class.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .masks import IGNORE_INDEX

SOURCES = 2  # the number of images whose objects are pasted into an image


def paste(pairs: Sequence[tuple[Tensor, Tensor]], probability: float) -> tuple[Tensor, Tensor]:
    """Paste classes of the other images into the first one, each with this probability.

    ``pairs`` are images, uint8 [C, H, W], with their masks, uint8 [H, W]. The class with the id 0
    is not pasted: it is usually the background.
    """
    (image, mask), *others = pairs
    for source, labels in others:
        pixels = labels[labels != IGNORE_INDEX].bincount()  # of each class
        objects = pixels[1:].nonzero()[:, 0] + 1
        pasted = torch.isin(labels, objects[torch.rand(len(objects)) < probability])
        image, mask = torch.where(pasted, source, image), torch.where(pasted, labels, mask)
    return image, mask
