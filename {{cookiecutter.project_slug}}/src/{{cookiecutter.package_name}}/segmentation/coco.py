"""Draw masks from the polygons and run-length encodings of COCO annotations."""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask
from torch import Tensor

from ..data.coco import CocoImage, CocoObject
from ..data.images import UnreadableImageError, size_conflict
from ..errors import UsageError
from .masks import IGNORE_INDEX


class CocoMasks:
    """Draw the mask of an image from its COCO annotations.

    Id 0 is the background, and id 1 the first category. Where objects overlap, the smaller object
    is on top. Crowds, whose objects are not annotated separately, become ``IGNORE_INDEX``.
    """

    def __init__(self, images: Sequence[CocoImage]) -> None:
        for image in images:
            for annotation in image.objects:
                _check(image, annotation)
        # An array of bytes instead of objects, so that worker processes share its memory.
        packed = [pickle.dumps(image) for image in images]
        self.ends = np.cumsum([len(content) for content in packed])
        self.packed = np.frombuffer(b"".join(packed), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.ends)

    def record(self, index: int) -> CocoImage:
        """Return the annotations of an image."""
        start = int(self.ends[index - 1]) if index else 0
        packed = self.packed[start : int(self.ends[index])]
        image: CocoImage = pickle.loads(packed.tobytes())  # noqa: S301 - pickled in __init__
        return image

    def __call__(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return the mask of an image, a uint8 tensor [H, W] of class ids and ``IGNORE_INDEX``.

        Args:
            index: the index of the image.
            size: the height and width of the image file.

        Raises:
            UnreadableImageError: if the annotations are for another size, or an outline is invalid.
        """
        image = self.record(index)
        if (image.height, image.width) != size:
            reason = size_conflict(size, (image.height, image.width), "annotations say")
            raise UnreadableImageError(str(image.path), reason)
        ids = np.zeros((image.height, image.width), dtype=np.uint8)
        outlined = []
        for annotation in image.objects:
            try:
                pixels = _pixels(annotation, image.height, image.width)
            except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                reason = f"annotation {annotation.id} of {image.source} is no outline: {error}"
                raise UnreadableImageError(str(image.path), reason) from error
            outlined.append((annotation, pixels))
        for annotation, pixels in sorted(outlined, key=lambda pair: -int(pair[1].sum())):
            ids[pixels] = IGNORE_INDEX if annotation.crowd else annotation.label + 1
        return torch.from_numpy(ids)


def _pixels(annotation: CocoObject, height: int, width: int) -> np.ndarray:
    outline = annotation.content["segmentation"]
    if isinstance(outline, dict) and isinstance(outline["counts"], str):
        runs = {**outline, "counts": outline["counts"].encode()}
    else:
        _check_numbers(outline, height, width)
        parts = coco_mask.frPyObjects(outline, height, width)
        runs = coco_mask.merge(parts) if isinstance(parts, list) else parts
    pixels: np.ndarray = coco_mask.decode(runs).astype(bool).reshape(height, width)
    return pixels


def _check_numbers(outline: Any, height: int, width: int) -> None:
    """Refuse run lengths and coordinates for which the decoder would fail or fill the memory."""
    polygons = isinstance(outline, list)
    numbers = np.concatenate([*map(np.asarray, outline)] if polygons else [outline["counts"]])
    limit = 10 * max(height, width) if polygons else height * width
    if numbers.dtype.kind not in "iuf" or not (np.abs(numbers) <= limit).all():
        raise ValueError(f"it has text, or numbers that are not finite or beyond {limit}")
    if not polygons and (numbers.min() < 0 or numbers.sum() != height * width):
        raise ValueError(f"its run lengths do not sum to {height} x {width} pixels")


def _check(image: CocoImage, annotation: CocoObject) -> None:
    outline = annotation.content.get("segmentation")
    where = f"{image.source}: annotation {annotation.id}"
    if outline is None or outline == []:
        raise UsageError(
            f"{where} has no segmentation.\n"
            "Masks need the outline of each object: polygons or run lengths."
        )
    if isinstance(outline, dict):
        if outline.get("size") != [image.height, image.width] or not outline.get("counts"):
            raise UsageError(
                f"{where} has run lengths for a size of {outline.get('size')}, but its image is "
                f"{[image.height, image.width]} (height, width)."
            )
        return
    for polygon in outline if isinstance(outline, list) else [None]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise UsageError(
                f"{where} has a polygon that is not x, y, x, y ... of three corners at least."
            )
