"""Join four training images to one (``data.augment.mosaic``)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from .boxes import MIN_VISIBLE, Target
from .cut_tiles import within
from .transforms import MIN_SIDE


def join(pairs: Sequence[tuple[Tensor, Target]]) -> tuple[Tensor, Target]:
    """Put four images, uint8 [C, H, W], into two rows, and resize a random part to one image.

    The height and the width of the part are those of an image, times a random factor from 1 to 2.
    It therefore shows some of each image, and objects keep their shape, but become smaller. Objects
    of whose box less than ``MIN_VISIBLE`` is in the part are left out.
    """
    images, targets = zip(*pairs, strict=True)
    height, width = images[0].shape[1:]
    rows = [torch.cat([*images[start : start + 2]], dim=2) for start in (0, 2)]
    factor, down, across = (torch.rand(3) + torch.tensor([1, 0, 0])).tolist()
    part_height, part_width = round(factor * height), round(factor * width)
    top, left = round(down * (2 * height - part_height)), round(across * (2 * width - part_width))
    part = torch.cat(rows, dim=1)[:, top : top + part_height, left : left + part_width]
    image = resize(part, [height, width], antialias=True)
    scale = torch.tensor([width, height] * 2)
    moved = [
        (target.boxes + torch.tensor([place % 2, place // 2] * 2)) * scale
        for place, target in enumerate(targets)
    ]
    window = torch.tensor([left, top, left + part_width, top + part_height]).float()
    boxes, visible = within(torch.cat(moved), window)
    labels, crowd, areas = (torch.cat([target[field] for target in targets]) for field in (1, 2, 3))
    joined = targets[0]._replace(boxes=boxes, labels=labels, crowd=crowd, areas=areas)
    wide = ((boxes[:, 2:] - boxes[:, :2]) * scale[:2] >= MIN_SIDE).all(dim=1)
    return image, joined.select((visible >= MIN_VISIBLE) & wide)
