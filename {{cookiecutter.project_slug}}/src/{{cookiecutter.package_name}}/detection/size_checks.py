"""Check the sizes of images before the first step of a training."""

from typing import Any

from ..data.checks import check_sizes
from ..data.datamodule import Datasets


def check_files(datasets: Datasets) -> None:
    """Check by the headers of the image files that they have the size that annotations say.

    Raises:
        UnreadableImageError: for the first image of another size.
    """
    splits: tuple[Any, ...] = (datasets.train, datasets.val, datasets.test)
    sizes = {
        path: (height, width)
        for split in splits
        for path, (height, width) in zip(split.paths.tolist(), split.sizes.tolist(), strict=True)
        if height  # 0 if the annotations have no size
    }
    check_sizes(sizes)
