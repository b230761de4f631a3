"""Pictures as W&B takes them: whatever comes in is brought into a form that it cannot refuse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..task import caption
from .client import Tracked
from .task import overlay

MOST_FRAMES = 60  # of a film
FRAME_MILLISECONDS = 400


def as_picture(image: Any, pixels: int) -> Image.Image:
    """An RGB image of at most ``pixels`` a side.

    Args:
        image: a tensor or array, [3, H, W], [H, W, 3], [1, H, W] or [H, W], of any type. Values
            from 0 to 1 in a float one are stretched to 255; all else is cut off at 0 and 255.
        pixels: of the longer side.
    """
    tensor = torch.as_tensor(image).detach().cpu()
    floating = tensor.is_floating_point()
    values = tensor.double().nan_to_num(0.0, 255.0, 0.0)
    while values.ndim > 3:
        values = values[0]
    if values.ndim == 2:
        values = values[None]
    if values.shape[0] not in {1, 3} and values.shape[-1] in {1, 3}:
        values = values.permute(2, 0, 1)
    if floating and values.numel() and values.max() <= 1:
        values = values * 255
    flat = values[:3] if values.shape[0] >= 3 else values[:1].expand(3, -1, -1)
    array = flat.clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(array)
    picture.thumbnail((pixels, pixels))
    return picture


def picture(
    tracked: Tracked,
    image: Tensor,
    classes: Sequence[str],
    *,
    target: Any = None,
    prediction: Any = None,
    words: str | None = None,
) -> Any:
    """A W&B image with what it is and what it is taken for.

    Args:
        tracked: brings the size.
        image: uint8 tensor [3, H, W].
        classes: the names.
        target: of the task, or None.
        prediction: of the task, or None.
        words: the caption; None describes the prediction.
    """
    shown = as_picture(image, tracked.tracking.media.pixels)
    if words is None and prediction is not None:
        words = caption(target, prediction, classes)
    over = overlay(target, prediction, classes, shown)
    return tracked.wandb.Image(shown, caption=words, file_type="jpg", **over)


def film(sheets: Sequence[Path], path: Path, pixels: int) -> Path | None:
    """Write the sheets one after another as a GIF; None if there are fewer than two.

    Args:
        sheets: PNG files in the order of time; of too many, some are left out evenly.
        path: the GIF.
        pixels: of the longer side.
    """
    if len(sheets) < 2:
        return None
    chosen = np.linspace(0, len(sheets) - 1, min(len(sheets), MOST_FRAMES)).round().astype(int)
    frames = []
    for index in chosen:
        with Image.open(sheets[index]) as sheet:
            frame = sheet.convert("RGB")
        frame.thumbnail((pixels, pixels))
        frames.append(frame)
    first, *others = frames
    first.save(path, save_all=True, append_images=others, duration=FRAME_MILLISECONDS, loop=0)
    return path
