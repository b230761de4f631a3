"""Write predictions as PNG masks."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageOps

from ..run.files import replacing
from .masks import Prediction, mask_image, resize_mask


def save_results(
    predicted: Sequence[tuple[Path, str, Prediction]], _classes: Sequence[str], folder: Path
) -> None:
    """Write ``masks/<name>.png``: palette images of class ids, in the size of the image files.

    Args:
        predicted: the path of each image, the name of its output files, and its prediction.
        folder: the folder in which ``masks/`` is created.
    """
    (folder / "masks").mkdir()
    for path, name, prediction in predicted:
        with Image.open(path) as file:
            size = ImageOps.exif_transpose(file).size
        ids = torch.from_numpy(resize_mask(prediction.mask, size).copy())
        with replacing(folder / "masks" / f"{name}.png") as hidden:
            mask_image(ids).save(hidden)
