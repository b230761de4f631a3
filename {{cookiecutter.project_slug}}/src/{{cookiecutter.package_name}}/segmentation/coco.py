"""Read outlines of objects, in the formats of COCO and LabelMe, and draw masks from them."""

import math
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask
from torch import Tensor

from ..data.coco import CocoImage, read_coco
from ..data.files import folder_of
from ..data.images import UnreadableImageError, size_conflict
from ..data.labelme import read_labelme
from ..data.reading_summary import Reading
from ..data.split import with_splits
from ..errors import UsageError
from ..settings.segmentation import DataSettings
from .class_list import IGNORE_INDEX

INVALID = (IndexError, KeyError, RuntimeError, TypeError, ValueError)  # for an invalid outline
FEW_RUNS = 8  # an outline of at most as many run lengths or characters may hold no pixel


class CocoMasks:
    """Draw the mask of an image from its COCO annotations.

    Id 0 is the background, and id 1 the first category. Where objects overlap, the smaller object
    is on top. Crowds, whose objects are not annotated separately, become ``IGNORE_INDEX``.
    """

    def __init__(self, images: Sequence[CocoImage]) -> None:
        for image in images:
            for annotation in image.objects:
                outline = annotation.content.get("segmentation")
                if fault := _fault(outline, [image.height, image.width]):
                    raise UsageError(f"{image.source}: annotation {annotation.id} has {fault}")
        # An array of bytes instead of objects, so that worker processes share its memory.
        packed = [pickle.dumps(_plain(image)) for image in images]
        self.ends = np.cumsum([len(content) for content in packed])
        self.packed = np.frombuffer(b"".join(packed), dtype=np.uint8)

    def source(self, index: int) -> tuple[list[str], Any]:
        """Return no file, and what ``_plain`` returns of an image."""
        start = int(self.ends[index - 1]) if index else 0
        packed = self.packed[start : int(self.ends[index])]
        return [], pickle.loads(packed.tobytes())  # noqa: S301 - ours

    def __call__(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return the mask of an image of this size, uint8 [H, W] of ids and ``IGNORE_INDEX``.

        An image of another size, or an invalid outline, raises an UnreadableImageError.
        """
        path, annotated, source, objects = self.source(index)[1]
        if annotated != size:
            raise UnreadableImageError(path, size_conflict(size, annotated))
        ids = np.zeros(size, dtype=np.uint8)
        outlined = []
        for key, label, crowd, outline in objects:
            try:
                pixels = coco_mask.decode(_runs(outline, size)).astype(bool).reshape(size)
            except INVALID as error:
                reason = f"annotation {key} of {source} is not an outline: {error}"
                raise UnreadableImageError(path, reason) from error
            outlined.append((IGNORE_INDEX if crowd else label + 1, pixels))
        for value, pixels in sorted(outlined, key=lambda pair: -int(pair[1].sum())):
            ids[pixels] = value
        return torch.from_numpy(ids)


def _plain(image: CocoImage) -> tuple[Any, ...]:
    """Return what masks need of an image, in tuples and lists only: these are pickled faster."""
    objects = [(*item[:3], item.content["segmentation"]) for item in image.objects]
    return str(image.path), (image.height, image.width), str(image.source), objects


def leave_out_empty(splits: Mapping[str, Sequence[CocoImage]], reading: Reading) -> None:
    """Remove and count the objects whose outline holds no pixel of their image."""
    for split, images in splits.items():
        for image in images:
            for item in [*image.objects]:
                reason = ""
                with suppress(*INVALID):  # reported when it is checked or drawn
                    reason = _why_empty(item.content.get("segmentation"), image)
                if reason:
                    image.objects.remove(item)
                if reason and not item.crowd:  # crowds have been counted already
                    reading.leave_out("objects", reason, image.source, split=split)


def _why_empty(outline: Any, image: CocoImage) -> str:
    """Return why no pixel is drawn for an object, or an empty text if there are pixels.

    Drawing takes long, so polygons that are clearly within the image are not drawn.
    """
    if not outline or (isinstance(outline, dict) and len(outline["counts"]) > FEW_RUNS):
        return ""
    if isinstance(outline, list):
        first, width, height = outline[0], image.width, image.height
        (x, y), step = first[:2], len(first) // 6 * 2
        # A triangle of three corners that lie apart, which is thicker than about a pixel.
        x1, y1 = first[step] - x, first[step + 1] - y
        x2, y2 = first[2 * step] - x, first[2 * step + 1] - y
        thick = abs(x1 * y2 - x2 * y1) > abs(x1) + abs(y1) + abs(x2) + abs(y2)
        if thick and 0 <= x < width and 0 <= y < height:
            return ""
        xs = [value for polygon in outline for value in polygon[::2]]
        ys = [value for polygon in outline for value in polygon[1::2]]
        if max(xs) <= 0 or max(ys) <= 0 or min(xs) >= width or min(ys) >= height:
            return "outside of the image"
    runs = _runs(outline, (image.height, image.width))
    return "" if coco_mask.area(runs) else "without any pixel"


def _runs(outline: Any, size: tuple[int, int]) -> Any:
    """Return the compressed run lengths of an outline; numbers that cannot be drawn are refused."""
    if isinstance(outline, dict) and isinstance(outline["counts"], str):
        return {**outline, "counts": outline["counts"].encode()}
    (height, width), polygons = size, isinstance(outline, list)
    numbers = np.concatenate([*map(np.asarray, outline)] if polygons else [outline["counts"]])
    limit = 10 * max(height, width) if polygons else height * width
    if numbers.dtype.kind not in "iuf" or not (np.abs(numbers) <= limit).all():
        raise ValueError(f"it has text, or numbers that are not finite or beyond {limit}")
    if not polygons and (numbers.min() < 0 or numbers.sum() != height * width):
        raise ValueError(f"its run lengths do not sum to {height} x {width} pixels")
    parts = coco_mask.frPyObjects(outline, height, width)
    return coco_mask.merge(parts) if polygons else parts


def _fault(outline: Any, size: list[int]) -> str:
    """Return what is wrong with the outline of an object in an image of this height and width."""
    if outline is None or outline == []:
        return "no segmentation.\nMasks need the outline of each object: polygons or run lengths."
    if isinstance(outline, dict):
        found = f"run lengths for a size of {outline.get('size')}"
        fits = outline.get("size") == size and outline.get("counts")
        return "" if fits else f"{found}, but its image is {size} (height, width)."
    for polygon in outline if isinstance(outline, list) else [None]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "a polygon that is not x, y, x, y ... of three corners at least."
        try:
            finite = math.isfinite(sum(polygon))
        except TypeError:
            finite = False
        if not finite:
            return (
                "a polygon with a text, or with a number that is not finite.\nCorrect the polygon, "
                "or remove the annotation."
            )
    return ""


def read_outlines(
    settings: DataSettings, reading: Reading
) -> tuple[list[str], dict[str, tuple[list[Path], CocoMasks]]]:
    """Read the classes, and the images and masks by split, of COCO or LabelMe data."""
    root, read = settings.root, read_labelme if settings.name == "labelme" else read_coco
    names, outlined = read(root, settings, reading)
    leave_out_empty(outlined, reading)
    splits = with_splits(
        outlined,
        settings,
        reading,
        path=lambda image: image.path,
        labels=lambda image: {names[item.label] for item in image.objects if not item.crowd},
    )
    for split, images in splits.items():
        objects = [item for image in images for item in image.objects]
        labels = [item.label for item in objects if not item.crowd]
        reading.count(split, images=len(images), labels=labels, classes=names)
    used = (image.path for images in outlined.values() for image in images)
    reading.add_unused_images(folder_of(root), used, "not among the annotated images")
    background = next((name for name in names if name.casefold() == "background"), None)
    if background is not None:
        raise UsageError(
            f"{root} has a class named {background}, but pixels outside of objects have this class "
            "already.\nRename it, or remove its annotations."
        )
    if len(names) >= IGNORE_INDEX:
        raise UsageError(
            f"{root} has {len(names)} classes, but masks have {IGNORE_INDEX} ids at most, one for "
            "the background.\nRemove or join classes."
        )
    return ["background", *names], {
        split: ([image.path for image in images], CocoMasks(images))
        for split, images in splits.items()
    }
