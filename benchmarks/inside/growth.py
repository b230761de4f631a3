"""What a data set of so many images costs: seconds to find it, and memory, also that of the workers.

``growth.py folders|coco COUNT WORKERS``, in a project of a task that reads the layout.
"""

import gc
import json
import os
import sys
import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from time import perf_counter

from common import answer, settings_of
from PIL import Image
from shape_sorter.data.datamodule import DataModule
from shape_sorter.inference.load_model import build_datasets

TASK = next(name for name in ("classification", "detection", "segmentation") if find_spec(f"shape_sorter.{name}"))
FOLDERS = {"classification": "imagefolder", "detection": "yolo", "segmentation": "maskfolder"}[TASK]
CLASSES = 10
OBJECTS = 5  # in each image of a COCO file
SIZE = (64, 48)
MAX_LINKS = 10_000  # to one file; file systems allow some 65 000
BATCHES = 60


class Files:
    """As many files as asked for, which are few: only their names differ."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: dict[str, tuple[Path, int]] = {}

    def link(self, name: str, mode: str = "RGB") -> None:
        """One more, under ``root``."""
        path = self.root / name
        source, links = self.made.get(path.suffix, (path, MAX_LINKS))
        path.parent.mkdir(parents=True, exist_ok=True)
        if links >= MAX_LINKS:
            if path.suffix == ".txt":
                lines = (f"0 0.4 0.4 0.5 0.{index + 1}\n" for index in range(OBJECTS))
                path.write_text("".join(lines), encoding="utf-8")
            else:
                image = Image.new(mode, SIZE)
                image.paste(1, (0, 0, 10, 10))  # of a mask: pixels of the second class
                image.save(path)
            self.made[path.suffix] = (path, 1)
        else:
            os.link(source, path)
            self.made[path.suffix] = (source, links + 1)


def write_folders(root: Path, count: int) -> None:
    """Bare class folders, YOLO's layout, or images with masks."""
    files = Files(root)
    if TASK == "classification":
        for index in range(count):
            files.link(f"class_{index % CLASSES}/{index:06d}.jpg")
        return
    root.mkdir(parents=True)
    if TASK == "detection":
        words = "train: images/train\nval: images/val\ntest: images/test\nnames: [thing]\n"
        (root / "data.yaml").write_text(words, encoding="utf-8")
    else:
        (root / "classes.txt").write_text("nothing\nsomething\n", encoding="utf-8")
    for index in range(count):
        split = "val" if index % 10 == 8 else "test" if index % 10 == 9 else "train"
        files.link(f"images/{split}/{index:06d}.jpg")
        if TASK == "detection":
            files.link(f"labels/{split}/{index:06d}.txt")
        else:
            files.link(f"masks/{split}/{index:06d}.png", "L")


def write_coco(root: Path, count: int) -> None:
    """COCO's layout, with boxes and polygons."""
    files = Files(root)
    (root / "annotations").mkdir(parents=True)
    corners = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]
    outline = {"bbox": [10, 10, 30, 20], "area": 600, "segmentation": [corners], "iscrowd": 0}
    for split, part in (("train", range(count * 8 // 10)), ("val", range(count * 8 // 10, count))):
        images = [{"id": one, "file_name": f"{one:06d}.jpg", "width": SIZE[0], "height": SIZE[1]} for one in part]
        for image in images:
            files.link(f"{split}/{image['file_name']}")
        content = {
            "categories": [{"id": one, "name": f"class {one}"} for one in range(CLASSES)],
            "images": images,
            "annotations": [
                {"id": OBJECTS * one + which, "image_id": one, "category_id": which % CLASSES, **outline}
                for one in part
                for which in range(OBJECTS)
            ],
        }
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def held(process: int | str = "self") -> float:
    """Megabytes that belong to a process alone."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def listing(root: Path) -> float:
    """Seconds to list the names, and to read the annotations, and nothing more."""
    began = perf_counter()
    sum(len(names) for _, _, names in os.walk(root))
    for file in root.glob("annotations/*.json"):
        json.loads(file.read_text(encoding="utf-8"))
    for file in root.glob("labels/*/*.txt"):
        file.read_text(encoding="utf-8")
    return perf_counter() - began


def main(layout: str, count: str, workers: str) -> None:
    """Print the figures."""
    name = "coco" if layout == "coco" else FOLDERS
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        (write_coco if layout == "coco" else write_folders)(root, int(count))
        settings = settings_of(f"data={name}", f"data.root={root}", f"loader.workers={workers}")
        floor = listing(root)
        gc.disable()  # as the commands do until the trainer is built
        before, began = held(), perf_counter()
        datasets = build_datasets(settings.data)
        took, after = perf_counter() - began, held()
        gc.enable()
        loader = DataModule(datasets, settings.loader, skip_unreadable=False).train_dataloader()
        batches = iter(loader)
        images, began = 0, perf_counter()
        for position, batch in enumerate(islice(batches, BATCHES)):
            if position == BATCHES // 3:
                images, began = 0, perf_counter()
            images += len(batch.images)
        rate = images / (perf_counter() - began)
        private = [held(worker.pid) for worker in getattr(batches, "_workers", [])]
        answer(
            listing=floor, found=took, megabytes=max(after - before, 0.0), rate=rate, worker=max(private, default=0.0)
        )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
