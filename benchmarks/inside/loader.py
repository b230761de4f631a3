"""Images per second and core of reading, cropping and flipping photos: by the project's loader, or by hand."""

from collections.abc import Callable
from itertools import chain, cycle, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from common import answer, settings_of
from PIL import Image
from shape_sorter.data.datamodule import DataModule
from shape_sorter.inference.load_model import build_datasets
from torchcodec.decoders import decode_jpeg
from torchvision.transforms import v2

COUNT, SIZE, BATCH = 300, 224, 32
WARMUP, TURNS = 10, 300  # of a batch each


def write_photos(root: Path) -> None:
    """JPEG files of 500 x 375 pixels with about the detail of photos, in two classes."""
    random = np.random.default_rng(0)
    for index in range(COUNT):
        path = root / ("even", "odd")[index % 2] / f"{index:03d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        rough.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


def main() -> None:
    """Print the figures of both, measured in turns."""
    root = Path("photos")
    write_photos(root)
    torch.set_num_threads(1)
    settings = settings_of(
        "data=imagefolder", f"data.root={root}", f"data.image_size={SIZE}", "data.augment.color=0", "loader.workers=0",
        f"loader.batch_size={BATCH}",
    )  # fmt: skip
    datasets = build_datasets(settings.data)
    loader = DataModule(datasets, settings.loader, skip_unreadable=False).train_dataloader()
    paths = datasets.train.paths.tolist()  # type: ignore[attr-defined]
    crop = v2.RandomResizedCrop(SIZE, scale=(settings.data.augment.crop_scale, 1.0), antialias=True)
    flip = v2.RandomHorizontalFlip(settings.data.augment.flip)

    batches = chain.from_iterable(repeat(loader))
    chunks = cycle([paths[start : start + BATCH] for start in range(0, len(paths) - BATCH + 1, BATCH)])

    def by_hand() -> Any:
        return torch.stack([flip(crop(decode_jpeg(path))) for path in next(chunks)])

    works: list[tuple[str, Callable[[], Any]]] = [("ours", lambda: next(batches)), ("floor", by_hand)]
    rates: dict[str, list[float]] = {"ours": [], "floor": []}
    for turn in range(WARMUP + TURNS):
        works.reverse()
        for name, work in works:
            began = perf_counter()
            work()
            if turn >= WARMUP:
                rates[name].append(BATCH / (perf_counter() - began))
    answer(**rates)


if __name__ == "__main__":
    main()
