"""The annotated and the predicted objects of an image.

Boxes are ``x1 y1 x2 y2`` relative to the width and height of the image, from 0 to 1, so that they
do not depend on the size of the image. Only COCO files and drawings use pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor


class AnnotatedObject(NamedTuple):
    """An object as it is read from an annotation file."""

    box: Sequence[float]  # x1 y1 x2 y2
    label: int
    area: float  # relative to the area of the image
    crowd: bool = False  # whether the box surrounds many objects that are not annotated separately


class AnnotatedImage(NamedTuple):
    """An image file and its annotated objects."""

    path: Path
    objects: Sequence[AnnotatedObject]
    size: tuple[int, int] = (0, 0)  # height and width; 0, 0 if the annotations have no size
    faults: tuple[str, ...] = ()  # descriptions of corrected mistakes in the annotations


class Target(NamedTuple):
    """The annotated objects of an image as tensors."""

    boxes: Tensor  # float32 [N, 4]
    labels: Tensor  # int64 [N]
    crowd: Tensor  # bool [N]; crowds are ignored by training and metrics
    areas: Tensor  # float32 [N], in pixels of the image file, for COCO's small, medium and large
    size: tuple[int, int]  # height and width of the image file


class Prediction(NamedTuple):
    """The objects that are detected in an image, sorted by descending score."""

    boxes: Tensor  # float32 [N, 4]
    scores: Tensor  # float32 [N], 0 to 1
    labels: Tensor  # int64 [N]
