"""The annotated and the predicted objects of an image.

Boxes are ``x1 y1 x2 y2`` relative to the width and height of an image, from 0 to 1, so that they do
not depend on its size. In annotations and results this is the image file, in batches it is the
model input, in which the file has a ``Placement``. Code that needs pixels, such as readers of files
and drawings, converts them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..data.reading_summary import Reading
from ..data.resize import WHOLE, Placement, place
from ..settings.detection import DataSettings

BEYOND = "the box is beyond the border"  # marks the faults that ``note_cut_boxes`` counts
MANY = 10  # boxes; if fewer look like two corners, this may be by chance
SLACK = 0.005  # fraction of an image of unknown size by which rounding may move a box beyond it
# The smallest fraction of a box that must remain where {{ "a crop, a tile or a mosaic" if cookiecutter.scope == "complete" else "a crop" }} cuts it off.
# Objects of which less remains are not trained on, and detecting them is not a mistake.
MIN_VISIBLE = 0.3


class AnnotatedObject(NamedTuple):
    """An object as it is read from an annotation file.

    A crowd is a box around objects that are not annotated separately, as in COCO. Crowds are not
    trained on. In the metrics, a crowd need not be detected, and a box in a crowd is not a mistake.
    """

    box: Sequence[float]  # x1 y1 x2 y2
    label: int
    area: float  # relative to the area of the image
    crowd: bool = False


FoundObject = tuple[int | str, tuple[Sequence[float], int, float, bool]]  # its id and fields


class AnnotatedImage(NamedTuple):
    """An image file and its annotated objects."""

    path: str | Path
    objects: Sequence[AnnotatedObject]
    size: tuple[int, int] = (0, 0)  # height and width; 0, 0 if the annotations have no size
    faults: tuple[str, ...] = ()  # descriptions of corrected mistakes in the annotations


def annotate(
    path: str | Path,
    size: tuple[int, int],
    found: Iterable[FoundObject],
    where: Callable[[int | str], str],
    leave_out: Callable[[str], None],
) -> AnnotatedImage:
    """Clip the boxes of an image to it, and leave out repeated boxes and those without area.

    Args:
        path: the image file.
        size: its height and width, or 0, 0.
        found: the objects; an area of 0 becomes that of the box.
        where: returns where the object of a number is annotated.
        leave_out: called with the reason for each object that is left out, except crowds.
    """
    objects, faults, known = [], [], set()
    slack = 1.01 / min(size) if min(size) > 0 else SLACK  # a pixel
    for number, (box, label, area, crowd) in found:
        x1, y1, x2, y2 = left, top, right, bottom = box
        reason, key = "", (label, crowd, x1, y1, x2, y2)
        inside = 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1
        if not inside:
            left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
        if key in known:
            reason = "repeated"
        elif x1 >= x2 or y1 >= y2:
            reason = "the box has no area"
        elif left >= right or top >= bottom:
            reason = "the box is outside of the image"
        if reason:
            faults.append(f"{where(number)}: {reason}")
            if not crowd:
                leave_out(reason)
            continue
        known.add(key)
        if not inside and max(-x1, -y1, x2 - 1, y2 - 1) > slack:
            faults.append(f"{where(number)}: {BEYOND}")
        shown = area or (right - left) * (bottom - top)
        objects.append(AnnotatedObject((left, top, right, bottom), label, shown, crowd))
    return AnnotatedImage(path, objects, size, tuple(faults))


def note_cut_boxes(splits: Mapping[str, Sequence[AnnotatedImage]], reading: Reading) -> None:
    """Note how many boxes of each split were cut off at the border of their image."""
    for split, images in splits.items():
        cut = [(image.path, fault) for image in images for fault in image.faults if BEYOND in fault]
        if cut:
            path, fault = cut[0]
            boxes = sum(len(image.objects) for image in images)
            reading.note(
                f"Boxes that extend beyond their image and were cut off: {len(cut)} of {boxes}, "
                f"the first in {path}: {fault}. Check that the boxes have a width and a height, "
                "not a second corner.",
                split=split,
            )


class Target(NamedTuple):
    """The annotated objects of an image as tensors."""

    boxes: Tensor  # float32 [N, 4]
    labels: Tensor  # int64 [N]
    crowd: Tensor  # bool [N], see AnnotatedObject
    areas: Tensor  # float32 [N], in pixels of the image file, for COCO's small, medium and large
    size: tuple[int, int]  # height and width of the image file
    placement: Placement = WHOLE  # of the image file in the image that the boxes belong to

    def select(self, chosen: Tensor) -> "Target":
        """Return the target without the objects whose value in ``chosen``, bool [N], is false."""
        boxes, labels, crowd, areas = (part[chosen] for part in self[:4])
        return self._replace(boxes=boxes, labels=labels, crowd=crowd, areas=areas)


class Prediction(NamedTuple):
    """The objects that are detected in an image, sorted by descending score."""

    boxes: Tensor  # float32 [N, 4]
    scores: Tensor  # float32 [N], 0 to 1
    labels: Tensor  # int64 [N]


def in_file(prediction: Prediction, placement: Placement) -> Prediction:
    """Return the boxes relative to the image file instead of to the model input.

    Boxes are cut off at the border of the file, and boxes beyond it, i.e. in the padding, are left
    out.
    """
    boxes = placement.to_image(prediction.boxes)
    chosen = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return Prediction(boxes[chosen], prediction.scores[chosen], prediction.labels[chosen])


def without_padding(prediction: Prediction, _image: Tensor, target: Target) -> Prediction:
    """Cut off the boxes as in ``in_file``, and return them relative to the model input."""
    cut = in_file(prediction, target.placement)
    return cut._replace(boxes=target.placement.to_input(cut.boxes))


def restored(prediction: Prediction, size: tuple[int, int], settings: DataSettings) -> Prediction:
    """Map a prediction from the model input to an image file of this height and width."""
    return in_file(prediction, place(size, settings))
