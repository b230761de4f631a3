"""Images of random content in the layout that the task reads, and data sets that repeat them."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from loader import write_photos
from PIL import Image

TASK = next(name for name in ("classification", "detection", "segmentation") if find_spec(f"shape_sorter.{name}"))
LAYOUT = {"classification": "imagefolder", "detection": "coco", "segmentation": "maskfolder"}[TASK]
CLASSES, OBJECTS = 10, 8
COUNTS = {"train": 96, "val": 8, "test": 8}


class Repeated:
    """A data set of so many samples, which are those of a smaller one again and again."""

    def __init__(self, dataset: Any, count: int) -> None:
        self.dataset = dataset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index % len(self.dataset)]


def write_scenes(root: Path, side: int) -> None:
    """Write photos of 500 x 375 pixels for classification, or of about ``side`` with objects for other tasks."""
    if TASK == "classification":
        write_photos(root)
        return
    root.mkdir(exist_ok=True)
    random, size = np.random.default_rng(0), (side, side * 3 // 4)
    for split, count in COUNTS.items():
        rows, boxes = [], []
        folder = root / (split if TASK == "detection" else f"images/{split}")
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            rough = Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
            rough.resize(size, Image.Resampling.BICUBIC).save(folder / f"{index:03d}.jpg", quality=90)
            rows.append({"id": index, "file_name": f"{index:03d}.jpg", "width": size[0], "height": size[1]})
            mask = Image.new("L", size)
            for label in range(OBJECTS):
                width, height = (random.uniform(0.1, 0.4, 2) * size).astype(int).tolist()
                left, top = (random.uniform(0, 0.6, 2) * size).astype(int).tolist()
                mask.paste(1 + label % CLASSES, (left, top, left + width, top + height))
                box = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
                boxes.append({"id": len(boxes) + 1, "image_id": index, "category_id": label, **box})
            if TASK == "segmentation":
                (root / f"masks/{split}").mkdir(parents=True, exist_ok=True)
                mask.save(root / f"masks/{split}/{index:03d}.png")
        if TASK == "detection":
            categories = [{"id": label, "name": f"class {label}"} for label in range(OBJECTS)]
            (root / "annotations").mkdir(exist_ok=True)
            content = {"categories": categories, "images": rows, "annotations": boxes}
            (root / f"annotations/{split}.json").write_text(json.dumps(content), encoding="utf-8")
    if TASK == "segmentation":
        names = ["background", *(f"class {label}" for label in range(OBJECTS))]
        (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
