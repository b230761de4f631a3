"""Test-time augmentation: predict augmented copies of an image, and average the predictions."""

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
# ~ if cookiecutter.task == "detection"
from torchvision.ops import batched_nms, box_iou
# ~ endif
from torchvision.transforms.v2.functional import resize

from ..errors import UsageError

# ~ if cookiecutter.task == "detection"
SAME_IOU = 0.6  # minimum IoU of boxes of the same object in two copies
MAX_BOXES = 300  # in an image
# ~ endif
STEP = 32  # the sides of scaled images are multiples of it
SIZE = re.compile("size|shape|dimension|height|width|index k", re.IGNORECASE)  # in an error


def apply_tta(module: Any, tta: str) -> None:
    """Wrap the network of a module in ``AveragedNetwork``, unless ``tta`` is ``none``."""
    if tta != "none":
        # ~ if cookiecutter.task == "classification"
        several = module.threshold is not None
        module.network = AveragedNetwork(module.network, tta, several=several)


        # ~ else
        module.network = AveragedNetwork(module.network, tta)


        # ~ endif
def scaled_sides(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the height and width of the scaled copies of an image of this height and width.

    The sides are multiples of ``STEP``, at most 0.75 and at least 1.25 times those of the image. An
    image of ``STEP`` pixels has no smaller copy.
    """
    smaller = tuple(max(int(0.75 * side) // STEP, 1) * STEP for side in size)
    larger = tuple(math.ceil(1.25 * side / STEP) * STEP for side in size)
    return [(sides[0], sides[1]) for sides in (smaller, larger) if sides != size]


class AveragedNetwork(nn.Module):
    """A network that averages its outputs for augmented copies of each image.

    With ``flip``, these are the image and its mirror image; with ``multiscale``, three sizes.
    # ~ if cookiecutter.task == "classification"
    With ``several``, an image may have several labels.
    # ~ endif
    """

    # ~ if cookiecutter.task == "classification"
    def __init__(self, network: nn.Module, tta: str, *, several: bool = False) -> None:
        super().__init__()
        self.several = several
        # ~ else
    def __init__(self, network: nn.Module, tta: str) -> None:
        super().__init__()
        # ~ endif
        self.network = network
        self.tta = tta

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the network, such as ``normalisation``."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)

    def forward(self, images: Tensor) -> Any:
        """Return the averaged outputs for uint8 images [B, C, H, W], in the network's own form."""
        outputs = [self.network(images)]
        if self.tta == "flip":
            return self._average([*outputs, self._mirrored(images)])
        for sides in scaled_sides((images.shape[2], images.shape[3])):
            scaled = resize(images, list(sides), antialias=True)
            try:
                outputs.append(self.network(scaled))
            except Exception as error:  # each library raises its own kind
                if isinstance(error, torch.OutOfMemoryError) or not SIZE.search(str(error)):
                    raise
                raise UsageError(
                    "tta=multiscale: this network does not accept the copies of other sizes.\n"
                    "Choose tta=flip."
                ) from error
        # ~ if cookiecutter.task == "segmentation"
        size = images.shape[-2:]
        outputs = [
            nn.functional.interpolate(part.float(), size, mode="bilinear") for part in outputs
        ]
        # ~ endif
        return self._average(outputs)

    # ~ if cookiecutter.task != "detection"
    def _mirrored(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.flip(-1))
        return logits{{ ".flip(-1)" if cookiecutter.task == "segmentation" }}

    def _average(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the logits of the mean probabilities."""
        logits = torch.stack([part.float() for part in outputs])
        # ~ if cookiecutter.task == "classification"
        if self.several:
            return torch.logit(logits.sigmoid().mean(dim=0), eps=1e-7)
        # ~ endif
        return logits.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))
    # ~ else
    def _mirrored(self, images: Tensor) -> Any:
        predictions = []
        for prediction in self.network(images.flip(-1)):
            left, top, right, bottom = prediction.boxes.unbind(dim=1)
            boxes = torch.stack([1 - right, top, 1 - left, bottom], dim=1)
            predictions.append(prediction._replace(boxes=boxes))
        return predictions

    def _average(self, outputs: Sequence[Any]) -> Any:
        return [merge(copies) for copies in zip(*outputs, strict=True)]


def merge(copies: Sequence[Any]) -> Any:
    """Merge the boxes of several predictions for the same image.

    Boxes of one class that overlap are averaged, weighted by their scores. The score of the result
    is the mean of the highest score in each copy, with 0 for a copy without such a box.
    """
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*copies, strict=True))
    chosen = batched_nms(boxes, scores, labels, SAME_IOU)[:MAX_BOXES]
    if not len(chosen):
        return copies[0]
    iou = box_iou(boxes[chosen], boxes) * (labels[chosen][:, None] == labels)
    best, owner = iou.max(dim=0)
    member = (owner == torch.arange(len(chosen), device=boxes.device)[:, None]) & (best >= SAME_IOU)
    weights = member * scores
    averaged = weights @ boxes / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    parts = weights.split([len(prediction.scores) for prediction in copies], dim=1)
    highest = [part.amax(dim=1) for part in parts if part.shape[1]]
    mean = torch.stack(highest).sum(dim=0) / len(copies)
    order = mean.argsort(descending=True, stable=True)
    return copies[0]._replace(
        boxes=averaged[order], scores=mean[order], labels=labels[chosen][order]
    )
    # ~ endif
