"""Detect objects in the tiles of a large image, and merge the boxes of the tiles."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_area, box_iou

from ..data.tiles import Tile, tiles_of
from ..settings.schema import PredictSettings
from .boxes import Prediction, restored
from .dataset import model_input
from .module import DetectionModule

# Minimum IoU of two boxes of the same object, within the overlap of their tiles.
SAME_IOU = 0.5
NMS_IOU = 0.6  # of two boxes with a higher IoU, the one of the lower score is left out
COVERED = 0.7  # a cut-off box is left out if a larger fraction of it is within another box
BORDER = 2  # pixels; a box that is closer to the border of its tile counts as cut off


def predict_tiles(module: DetectionModule, image: Tensor, settings: PredictSettings) -> Prediction:
    """Detect objects in an image, uint8 [C, H, W], in tiles of ``settings.tiles`` pixels.

    Returns:
        The boxes relative to the whole image.
    """
    size, batch = (image.shape[1], image.shape[2]), settings.loader.batch_size
    tiles = tiles_of(size, settings.tiles or max(size))
    predictions = []
    for first in range(0, len(tiles), batch):
        chosen = tiles[first : first + batch]
        parts = [model_input(image[:, tile.rows, tile.columns], settings.data) for tile in chosen]
        found = module.predict_images(torch.stack(parts).to(module.device))
        for tile, prediction in zip(chosen, found, strict=True):
            predictions.append(restored(prediction, (tile.height, tile.width), settings.data))
    return predictions[0] if len(tiles) == 1 else merge(predictions, tiles, size)


def merge(
    predictions: Sequence[Prediction], tiles: Sequence[Tile], size: tuple[int, int]
) -> Prediction:
    """Merge the boxes of tiles, so that each object of the image has a single box.

    Boxes of one class in different tiles that agree in the part that both tiles see belong to the
    same object. Of these, the box of the highest score that no border of its tile cuts off is
    returned, or, if all are cut off, the box around them.

    Args:
        predictions: the objects of each tile; boxes are relative to the tile.
        tiles: the tiles of the image.
        size: the height and width of the image.
    """
    boxes = [
        prediction.boxes * torch.tensor([tile.width, tile.height] * 2)
        + torch.tensor([tile.left, tile.top] * 2)
        for prediction, tile in zip(predictions, tiles, strict=True)
    ]
    starts = torch.tensor([0, *map(len, boxes)]).cumsum(0)
    pairs = [torch.empty(0, 2, dtype=torch.int64)]
    for (one, a), (two, b) in combinations(enumerate(tiles), 2):
        left, top = max(a.left, b.left), max(a.top, b.top)
        right = min(a.left + a.width, b.left + b.width)
        bottom = min(a.top + a.height, b.top + b.height)
        if left >= right or top >= bottom:
            continue
        lowest, highest = torch.tensor([left, top] * 2), torch.tensor([right, bottom] * 2)
        seen = [boxes[index].clamp(lowest, highest) for index in (one, two)]
        same = predictions[one].labels[:, None] == predictions[two].labels
        agreeing = ((box_iou(*seen) >= SAME_IOU) & same).nonzero()
        pairs.append(agreeing + starts[[one, two]])
    all_boxes, scores = torch.cat(boxes), torch.cat([part.scores for part in predictions])
    labels = torch.cat([part.labels for part in predictions])
    cut = torch.cat([_cut_off(part, tile, size) for part, tile in zip(boxes, tiles, strict=True)])
    owner = _groups(torch.cat(pairs), len(all_boxes))
    is_first = owner == torch.arange(len(all_boxes))
    first, owner = is_first.nonzero().flatten(), (is_first.cumsum(0) - 1)[owner]
    # Of each object the whole box of the highest score, or the box around all its boxes.
    order = scores.masked_fill(cut, -1).argsort(descending=True, stable=True)
    best = order[_reduced(order.argsort(), owner, len(first), "amin")]
    lowest = _reduced(all_boxes[:, :2], owner, len(first), "amin")
    highest = _reduced(all_boxes[:, 2:], owner, len(first), "amax")
    cut = cut[best]
    merged = torch.where(cut[:, None], torch.cat([lowest, highest], dim=1), all_boxes[best])
    scores, labels = _reduced(scores, owner, len(first), "amax"), labels[first]
    chosen = batched_nms(merged, scores, labels, NMS_IOU)
    merged, scores, labels, cut = (part[chosen] for part in (merged, scores, labels, cut))
    remaining = torch.ones_like(cut)
    remaining[cut] = ~_within_larger(merged[cut], labels[cut], merged, labels)
    merged = merged / torch.tensor([size[1], size[0]] * 2)
    return Prediction(merged[remaining], scores[remaining], labels[remaining])


def _groups(pairs: Tensor, count: int) -> Tensor:
    """Return for each of ``count`` boxes the first box that it is connected with, int64 [count].

    The pairs, int64 [M, 2], are boxes that show the same object.
    """
    owner = torch.arange(count)
    while True:
        lowest = owner[pairs].amin(dim=1)
        lower = owner.scatter_reduce(0, pairs.T.flatten(), lowest.repeat(2), "amin")
        lower = lower[lower]
        if torch.equal(lower, owner):
            return owner
        owner = lower


def _reduced(values: Tensor, owner: Tensor, count: int, kind: str) -> Tensor:
    """Return the smallest (``amin``) or largest value (``amax``) of each group, [count, ...]."""
    index = owner.reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
    empty = values.new_zeros(count, *values.shape[1:])
    return empty.scatter_reduce(0, index, values, kind, include_self=False)


def _cut_off(boxes: Tensor, tile: Tile, size: tuple[int, int]) -> Tensor:
    """Return whether a border of the tile within the image cuts off each box, bool [N]."""
    near = torch.zeros(len(boxes), dtype=torch.bool)
    for axis, (start, length) in enumerate(((tile.left, tile.width), (tile.top, tile.height))):
        if start > 0:
            near |= boxes[:, axis] < start + BORDER
        if start + length < size[1 - axis]:
            near |= boxes[:, axis + 2] > start + length - BORDER
    return near


def _within_larger(boxes: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> Tensor:
    """Return whether most of each box is within a larger one of its class in others, bool [N]."""
    areas, other_areas = box_area(boxes)[:, None], box_area(others)
    iou = box_iou(boxes, others)
    shared = iou / (1 + iou) * (areas + other_areas)
    larger = (other_areas > areas) & (other_labels == labels[:, None])
    within: Tensor = (larger & (shared > COVERED * areas)).any(dim=1)
    return within
