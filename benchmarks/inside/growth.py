"""What finding the images costs at 1000, 10 000 and 100 000: seconds and memory, next to listing them.

Started by hand in the folder of a generated project for classification:
``.venv/bin/python .../benchmarks/inside/growth.py``
"""

import os
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from common import settings_of
from PIL import Image
from shape_sorter.task import build_datasets

CLASSES = 10
MOST_LINKS = 10_000  # to one file; file systems allow some 65 000


def write_links(root: Path, count: int) -> None:
    """As many files as asked for, which are few images: only their names are read."""
    image = root / "image.jpg"
    for index in range(count):
        if index % MOST_LINKS == 0:
            image = root / f"image_{index}.jpg"
            Image.new("RGB", (64, 48), "teal").save(image)
        path = root / "data" / f"class_{index % CLASSES}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(image, path)


def megabytes() -> float:
    """The memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Print a line for each number of images."""
    for count in (1_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_links(root, count)
            began = perf_counter()
            listed = sum(len(names) for _, _, names in os.walk(root / "data"))
            listing = perf_counter() - began
            before, began = megabytes(), perf_counter()
            datasets = build_datasets(settings_of("data=imagefolder", f"data.root={root / 'data'}").data)
            took, held = perf_counter() - began, megabytes() - before
            sys.stdout.write(
                f"{listed} images: listed in {listing:.3f} s, found and split in {took:.3f} s; "
                f"{held:.1f} MB more, {1e6 * held / count:.0f} bytes an image, {len(datasets.train)} to train on\n"
            )


if __name__ == "__main__":
    main()
