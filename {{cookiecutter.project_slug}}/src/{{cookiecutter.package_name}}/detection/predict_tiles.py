"""Detect objects in the tiles of a large image, and merge the boxes of the tiles."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_area, box_iou

from ..data.resize import model_input
from ..data.tiles import Tile, tiles_of
from ..settings.schema import PredictSettings
from .boxes import Prediction, restored
from .module import DetectionModule

# Minimum IoU of two boxes of the same object, within the overlap of their tiles.
SAME_IOU = 0.5
NMS_IOU = 0.6  # of two boxes with a higher IoU, only that of the higher score is kept
COVERED = 0.7  # a cut-off box is left out if a larger fraction of it is within another box
# A box that ends closer to the border of its tile, as a fraction of the tile's side, counts as cut
# off. The network does not see where such an object ends: most edges are placed within a quarter of
# its smallest stride (8 pixels) of the border, i.e. 2 of 96 pixels of the input. A whole object
# that is as close is whole in the next tile, too, unless it is larger than the overlap.
BORDER = 0.02


def predict_tiles(module: DetectionModule, image: Tensor, settings: PredictSettings) -> Prediction:
    """Detect objects in an image, uint8 [C, H, W], in tiles of ``settings.tiles`` pixels."""
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
    """Merge the boxes of tiles, relative to them, so that each object of the image has one box.

    Boxes of one class in different tiles that agree in the part that both tiles see belong to the
    same object. Of these, the box of the highest score that no border of its tile cuts off is
    returned, or, if all are cut off, the box around them. ``size`` is the height and the width of
    the image.
    """
    in_tiles = [
        prediction.boxes * torch.tensor([tile.width, tile.height] * 2)
        + torch.tensor([tile.left, tile.top] * 2)
        for prediction, tile in zip(predictions, tiles, strict=True)
    ]
    boxes, scores = torch.cat(in_tiles), torch.cat([part.scores for part in predictions])
    labels = torch.cat([part.labels for part in predictions])
    cut = torch.cat(
        [_cut_off(part, tile, size) for part, tile in zip(in_tiles, tiles, strict=True)]
    )
    starts = torch.tensor([0, *map(len, in_tiles)]).cumsum(0)
    earlier = list(range(len(boxes)))  # a box of the same object, or the box itself
    for (one, a), (two, b) in combinations(enumerate(tiles), 2):
        left, top = max(a.left, b.left), max(a.top, b.top)
        right, bottom = min(a.columns.stop, b.columns.stop), min(a.rows.stop, b.rows.stop)
        if left >= right or top >= bottom:
            continue
        lowest, highest = torch.tensor([left, top] * 2), torch.tensor([right, bottom] * 2)
        seen = [in_tiles[index].clamp(lowest, highest) for index in (one, two)]
        same = predictions[one].labels[:, None] == predictions[two].labels
        agreeing = ((box_iou(*seen) >= SAME_IOU) & same).nonzero() + starts[[one, two]]
        for pair in agreeing.tolist():
            first, second = sorted(_first(earlier, index) for index in pair)
            earlier[second] = first
    objects: defaultdict[int, list[int]] = defaultdict(list)
    for index in range(len(boxes)):
        objects[_first(earlier, index)].append(index)
    rating, whole_rating = scores.tolist(), scores.masked_fill(cut, -1).tolist()
    best = [max(members, key=whole_rating.__getitem__) for members in objects.values()]
    surest = [max(members, key=rating.__getitem__) for members in objects.values()]
    merged, scores, labels, cut = boxes[best], scores[surest], labels[best], cut[best]
    for place, members in enumerate(objects.values()):
        if cut[place]:
            corners = boxes[members]
            merged[place] = torch.cat([corners[:, :2].amin(dim=0), corners[:, 2:].amax(dim=0)])
    chosen = batched_nms(merged, scores, labels, NMS_IOU)
    merged, scores, labels, cut = (part[chosen] for part in (merged, scores, labels, cut))
    remaining = torch.ones_like(cut)
    remaining[cut] = ~_within_larger(merged[cut], labels[cut], merged, labels)
    merged = merged / torch.tensor([size[1], size[0]] * 2)
    return Prediction(merged[remaining], scores[remaining], labels[remaining])


def _first(earlier: list[int], index: int) -> int:
    """Follow ``earlier`` from a box to the first box of the same object, and return its index."""
    while earlier[index] != index:
        index = earlier[index]
    return index


def _cut_off(boxes: Tensor, tile: Tile, size: tuple[int, int]) -> Tensor:
    """Return whether a border of the tile within the image cuts off each box, bool [N]."""
    near = torch.zeros(len(boxes), dtype=torch.bool)
    for axis, (start, length) in enumerate(((tile.left, tile.width), (tile.top, tile.height))):
        border = BORDER * length
        if start > 0:
            near |= boxes[:, axis] < start + border
        if start + length < size[1 - axis]:
            near |= boxes[:, axis + 2] > start + length - border
    return near


def _within_larger(boxes: Tensor, labels: Tensor, others: Tensor, other_labels: Tensor) -> Tensor:
    """Return whether most of each box is within a larger one of its class in others, bool [N]."""
    areas, other_areas = box_area(boxes)[:, None], box_area(others)
    iou = box_iou(boxes, others)
    shared = iou / (1 + iou) * (areas + other_areas)
    larger = (other_areas > areas) & (other_labels == labels[:, None])
    within: Tensor = (larger & (shared > COVERED * areas)).any(dim=1)
    return within
