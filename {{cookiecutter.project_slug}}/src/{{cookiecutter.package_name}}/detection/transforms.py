"""Transforms of images, which are uint8 tensors, together with their boxes."""

from collections.abc import Callable{{ ", Sequence" if cookiecutter.scope == "complete" }}

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_area
from torchvision.transforms import v2

# ~ if cookiecutter.scope == "complete"
from ..data.augment import random_steps
# ~ endif
from ..data.resize import GREY, Fit, place
from ..settings.detection import DataSettings
# ~ if cookiecutter.scope == "complete"
from .boxes import MIN_VISIBLE, Target
from .cut_tiles import within

# ~ else
from .boxes import MIN_VISIBLE, Target

# ~ endif
PairTransform = Callable[[Tensor, Target | None], tuple[Tensor, Target | None]]
MIN_SIDE = 2.0  # pixels of the model input; training drops objects that are narrower or lower


def train_transform(settings: DataSettings) -> PairTransform:
    """Build the random transforms that ``data.augment`` enables, which return the model input."""
    augment = settings.augment
    steps: list[torch.nn.Module] = []
    if augment.rotate:
        bilinear = v2.InterpolationMode.BILINEAR
        steps.append(v2.RandomRotation(augment.rotate, interpolation=bilinear, fill=GREY))
    steps.append(Fit(settings, random=True))
    # ~ if cookiecutter.scope == "complete"
    steps += random_steps(augment, settings.channels)
    # ~ else
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.color:
        steps.append(v2.ColorJitter(augment.color, augment.color, augment.color))
    # ~ endif
    return OnBoxes(v2.Compose(steps){{ ", augment.mosaic" if cookiecutter.scope == "complete" }})


# ~ if cookiecutter.scope == "complete"
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
    image = v2.functional.resize(part, [height, width], antialias=True)
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


# ~ endif
class FitWithBoxes(torch.nn.Module):
    """Fit an image and its boxes into the model input, as in validation."""

    def __init__(self, settings: DataSettings) -> None:
        super().__init__()
        self.fit = Fit(settings)

    def forward(self, image: Tensor, target: Target | None) -> tuple[Tensor, Target | None]:
        """Fit an image, uint8 [C, H, W]; leave out objects of which nothing remains.

        An object with less than ``MIN_VISIBLE`` of its box becomes a crowd, which is ignored.
        """
        fitted = self.fit(image)
        if target is None:
            return fitted, target
        placement = place((image.shape[1], image.shape[2]), self.fit.settings)
        boxes = placement.to_input(target.boxes)
        visible = box_area(placement.to_image(boxes)) / box_area(target.boxes)
        target = target._replace(
            boxes=boxes,
            placement=placement,
            crowd=target.crowd | (visible < MIN_VISIBLE),
            areas=target.areas * visible,
        )
        return fitted, target.select((boxes[:, 2:] > boxes[:, :2]).all(dim=1))


class OnBoxes(torch.nn.Module):
    """Apply a torchvision transform to an image and to its boxes."""

    def __init__(self, transform: torch.nn.Module{{ ", mosaic: float = 0.0" if cookiecutter.scope == "complete" }}) -> None:
        super().__init__()
        # ~ if cookiecutter.scope == "complete"
        self.mosaic = mosaic  # the probability with which the data set joins the image with others
        # ~ endif
        self.transform = transform

    def forward(self, image: Tensor, target: Target | None) -> tuple[Tensor, Target | None]:
        """Transform an image, uint8 [C, H, W]; leave out crowds and barely visible objects.

        These have less than ``MIN_VISIBLE`` of their box, or a side below ``MIN_SIDE``, in the
        result.
        """
        if target is None:
            return self.transform(tv_tensors.Image(image)).as_subclass(Tensor), target
        height, width = image.shape[1:]
        scaled = target.boxes * torch.tensor([width, height] * 2)
        # Each step cuts off the boxes ``shown``, so that none reaches into the padding.
        whole, shown = (
            tv_tensors.BoundingBoxes(
                scaled, format="XYXY", canvas_size=(height, width), clamping_mode=mode
            )
            for mode in (None, "hard")
        )
        parts = self.transform(tv_tensors.Image(image), whole, shown)
        image, whole, shown = (part.as_subclass(Tensor) for part in parts)
        height, width = image.shape[1:]
        visible = box_area(shown) >= MIN_VISIBLE * box_area(whole)
        visible &= (shown[:, 2:] - shown[:, :2] >= MIN_SIDE).all(dim=1) & ~target.crowd
        boxes = shown / torch.tensor([width, height] * 2)
        return image, target._replace(boxes=boxes).select(visible)
