"""Segment a large image in tiles, and average the probabilities where tiles overlap."""

from itertools import groupby

import torch
from torch import Tensor

from ..data.resize import model_input
from ..data.tiles import Tile, tiles_of
from ..settings.schema import PredictSettings
from .class_list import IGNORE_INDEX
from .module import SegmentationModule
from .predicted_masks import Prediction, from_input


def predict_tiles(
    module: SegmentationModule, image: Tensor, settings: PredictSettings
) -> Prediction:
    """Segment an image, uint8 [C, H, W], in tiles of ``settings.tiles`` pixels.

    Pixels that ``data.fit=crop`` cut off are ``IGNORE_INDEX``. Only the probabilities of a single
    row of tiles are in memory.
    """
    height, width = image.shape[1:]
    tiles = tiles_of((height, width), settings.tiles or max(height, width))
    mask = torch.full((height, width), IGNORE_INDEX, dtype=torch.uint8)
    sums, top = torch.zeros(len(module.classes), 0, width), 0  # of the image's rows from ``top``
    for start, row in groupby(tiles, key=lambda tile: tile.top):
        _choose(sums[:, : start - top], mask[top:start])  # no further tile covers these rows
        added = torch.zeros(len(module.classes), tiles[0].height, width)
        added[:, : sums.shape[1] - (start - top)] = sums[:, start - top :]
        sums, top = added, start
        in_row = list(row)
        for first in range(0, len(in_row), settings.loader.batch_size):
            _add(sums, in_row[first : first + settings.loader.batch_size], module, image, settings)
    _choose(sums, mask[top:])
    return Prediction(mask)


def _add(
    sums: Tensor,
    tiles: list[Tile],
    module: SegmentationModule,
    image: Tensor,
    settings: PredictSettings,
) -> None:
    """Add the probabilities of some tiles to those of their row, [classes, tile height, W]."""
    inputs = [model_input(image[:, tile.rows, tile.columns], settings.data) for tile in tiles]
    logits = module(torch.stack(inputs).to(module.device))
    for tile, values in zip(tiles, logits.float().softmax(dim=1).cpu(), strict=True):
        size = (tile.height, tile.width)
        sums[:, :, tile.columns] += from_input(values, size, settings.data, fill=0)


def _choose(sums: Tensor, mask: Tensor) -> None:
    """Write the most probable class of each pixel, from [classes, H, W], into a mask [H, W]."""
    best = sums.max(dim=0)
    mask.copy_(best.indices.where(best.values > 0, IGNORE_INDEX))
