"""Predictions in this task's standard form, masks as PNG."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps

from .masks import Prediction, fitted, mask_image


def save_results(
    found: Sequence[tuple[Path, str, Prediction]], _classes: Sequence[str], folder: Path
) -> None:
    """Write ``masks/<name>.png``: palette PNGs of class ids, in the size of the images.

    Args:
        found: the image's path, its name among the outputs, and its mask.
        folder: where ``masks/`` goes.
    """
    (folder / "masks").mkdir()
    for path, name, prediction in found:
        with Image.open(path) as file:
            size = ImageOps.exif_transpose(file).size
        ids = torch.from_numpy(fitted(prediction.mask, size).copy())
        mask_image(ids).save(folder / "masks" / f"{name}.png")
