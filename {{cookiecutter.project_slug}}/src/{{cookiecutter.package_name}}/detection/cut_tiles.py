"""Cut annotated images into tiles (``data.tiles``)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_area

from ..data.images import ImageFiles
from ..data.tiles import Tile, TiledImages
from ..settings.data import PixelFormat
from .boxes import MIN_VISIBLE, AnnotatedImage


def cut_images(
    annotated: Sequence[AnnotatedImage], side: int, pixels: PixelFormat
) -> tuple[TiledImages, list[AnnotatedImage]]:
    """Divide images larger than ``side`` pixels into overlapping tiles with their annotations."""
    files = ImageFiles(np.array([str(image.path) for image in annotated]), pixels)
    tiled = TiledImages(files, side, [image.size for image in annotated])
    sizes: list[tuple[int, int]] = [(height, width) for height, width in tiled.sizes.tolist()]
    parts = []
    for index, file in enumerate(tiled.files.tolist()):
        readable = any(sizes[file])
        image = annotated[file]
        parts.append(cut(image, tiled.tile(index), sizes[file]) if readable else image)
    return tiled, parts


def within(boxes: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Clip boxes to a part of their image.

    Args:
        boxes: float [N, 4], x1 y1 x2 y2.
        window: float [4], the part in the same units.

    Returns:
        The boxes relative to the part, and the fraction of the area of each that is in it, float
        [N].
    """
    start, end = window[:2].repeat(2), window[2:].repeat(2)
    clipped = boxes.clamp(start, end)
    return (clipped - start) / (end - start), box_area(clipped) / box_area(boxes)


def cut(image: AnnotatedImage, tile: Tile, size: tuple[int, int]) -> AnnotatedImage:
    """Return the annotations of a tile of an image, whose file has this height and width.

    An object is left out if the tile shows less than ``MIN_VISIBLE`` of its box or, if the box is
    larger than a tile, of the largest part of it that fits into one. A crowd is left out only if
    the tile shows nothing of it, since it must be ignored wherever it is seen.
    """
    height, width = size
    window = torch.tensor([tile.left, tile.top, tile.columns.stop, tile.rows.stop]).double()
    boxes = torch.tensor([item.box for item in image.objects], dtype=torch.float64).reshape(-1, 4)
    scale = torch.tensor([width, height] * 2)
    moved, visible = within(boxes * scale, window)
    sides = (boxes[:, 2:] - boxes[:, :2]) * scale[:2]
    fitting = (torch.tensor([tile.width, tile.height]) / sides).clamp(max=1).prod(dim=1)
    larger = height * width / (tile.height * tile.width)
    objects = [
        item._replace(box=box, area=item.area * share * larger)
        for item, box, share, most in zip(
            image.objects, moved.tolist(), visible.tolist(), fitting.tolist(), strict=True
        )
        if share >= MIN_VISIBLE * most or (item.crowd and share > 0)
    ]
    return AnnotatedImage(image.path, objects, (tile.height, tile.width))
