"""Scores on held-out images of three data sets: ``uv run python -m benchmarks.held_out [task] [row ...]``.

The images are made from what scikit-learn ships: handwritten digits in folders of classes, the same digits on parts of
two photographs as boxes, and these scenes as masks. Only the rows whose names begin with one of the words are measured;
the others keep their results.
"""

import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from .projects import ROOT, WORK, command, environ, project

README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- held-out -->", "<!-- end of held-out -->"
COUNTS = {"train": 240, "val": 60, "test": 60}  # scenes
METRICS = {"classification": "test/f1", "detection": "test/mAP_50", "segmentation": "test/mIoU"}
DATA = {"classification": "imagefolder", "detection": "coco", "segmentation": "maskfolder"}
# Shorter and smaller than the defaults, so that a row takes minutes on two cores.
SHORT = {
    "classification": ("data.image_size=32", "trainer.max_epochs=9"),
    "detection": ("data.image_size=128", "trainer.max_epochs=20"),
    "segmentation": ("data.image_size=128", "trainer.max_epochs=24"),
}
SEEDS = {"classification": (0, 1, 2), "detection": (0,), "segmentation": (0,)}
HEADER = "| task | row | metric | mean | seeds | steps | minutes |\n|---|---|---|---|---|---|---|"
# The model of the preset for fine-tuning is that of the run which it starts from.
SMALL = {
    "classification": ("model.backbone=resnet10t",),
    "detection": ("model.backbone=resnet10t", "model.channels=64", "model.pretrained=false"),
    "segmentation": ("model.backbone=resnet10t", "model.decoder_channels=128"),
}
WHITE = 110  # brightness from which a pixel belongs to a digit


def digits() -> dict[str, list[tuple[Any, int]]]:
    """The images uint8 [8, 8] of scikit-learn's digits and their labels: no image is in two splits."""
    data: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    pairs = [((data.images[index] * 255 / 16).astype("uint8"), int(data.target[index])) for index in order]
    return {"train": pairs[:1200], "val": pairs[1200:1500], "test": pairs[1500:]}


def write_folders(root: Path, keep: Callable[[int], float] = lambda _: 1.0) -> None:
    """Write the digits into a folder for each class; ``keep`` is the share of a class that is trained with."""
    seen = dict.fromkeys(range(10), 0)
    for split, pairs in digits().items():
        for index, (pixels, label) in enumerate(pairs):
            if split == "train":
                seen[label] += 1
                if seen[label] > max(6, 120 * keep(label)):
                    continue
            path = root / split / f"digit {label}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR).save(path)


def scenes(split: str, width: int, height: int) -> Iterator[tuple[Image.Image, Any, list[tuple[list[int], int]]]]:
    """Photographs with one to five digits: the image, its mask uint8 [height, width], boxes x, y, w, h and labels."""
    samples: Any = load_sample_images()
    photos = [Image.fromarray(pixels) for pixels in samples.images]
    rng = np.random.default_rng(["train", "val", "test"].index(split))
    pairs = digits()[split]
    for _ in range(COUNTS[split]):
        photo = photos[rng.integers(len(photos))]
        share = rng.uniform(0.5, 1) * min(photo.width / width, photo.height / height)
        wide, high = int(width * share), int(height * share)
        x, y = int(rng.integers(photo.width - wide + 1)), int(rng.integers(photo.height - high + 1))
        image = photo.crop((x, y, x + wide, y + high)).resize((width, height))
        mask, boxes = np.zeros((height, width), np.uint8), []
        for _ in range(int(rng.integers(1, 6))):
            pixels, label = pairs[rng.integers(len(pairs))]
            side = int(rng.integers(36, 90))
            ink = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))
            rows, columns = np.nonzero(ink > WHITE)
            ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            h, w = ink.shape
            left, top = int(rng.integers(width - w)), int(rng.integers(height - h))
            if mask[top : top + h, left : left + w].any():
                continue
            color = tuple(int(value) for value in rng.integers(0, 2, 3) * 200 + rng.integers(0, 55, 3))
            image.paste(Image.new("RGB", (w, h), color), (left, top), Image.fromarray(ink))
            mask[top : top + h, left : left + w][ink > WHITE] = label + 1
            boxes.append(([left, top, w, h], label))
        yield image, mask, boxes


def write_boxes(root: Path, width: int = 320, height: int = 240) -> None:
    """Write the scenes with COCO's annotations."""
    for split in COUNTS:
        images: list[Any] = []
        annotations: list[Any] = []
        (root / split).mkdir(parents=True)
        for index, (image, _, boxes) in enumerate(scenes(split, width, height)):
            image.save(root / split / f"{index}.jpg", quality=92)
            images.append({"id": index, "file_name": f"{index}.jpg", "width": width, "height": height})
            for box, label in boxes:
                one = {"id": len(annotations) + 1, "image_id": index, "category_id": label, "bbox": box}
                annotations.append(one | {"area": box[2] * box[3], "iscrowd": 0})
        categories = [{"id": label, "name": f"digit {label}"} for label in range(10)]
        (root / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))


def write_masks(root: Path, width: int = 320, height: int = 240) -> None:
    """Write the scenes with a mask for each."""
    for split in COUNTS:
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index, (image, mask, _) in enumerate(scenes(split, width, height)):
            image.save(root / "images" / split / f"{index}.jpg", quality=92)
            Image.fromarray(mask).save(root / "masks" / split / f"{index}.png")
    (root / "classes.txt").write_text("photograph\n" + "".join(f"digit {label}\n" for label in range(10)))


def sets() -> dict[str, Path]:
    """The folders of the data, by name; written once."""
    writers: dict[str, Callable[[Path], None]] = {
        "classification": write_folders,
        "skewed": lambda root: write_folders(root, lambda label: 0.6**label),
        "detection": write_boxes,
        "segmentation": write_masks,
        "elongated detection": lambda root: write_boxes(root, 640, 128),
        "elongated segmentation": lambda root: write_masks(root, 640, 128),
    }
    folders = {name: WORK / "sets" / name.replace(" ", "-") for name in writers}
    for name, write in writers.items():
        if not folders[name].is_dir():
            write(folders[name])
    return folders


def rows(task: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The name of each row, the data set, and the overrides."""
    presets = ("none", "light", "strong", "aerial", "industrial")
    yield "defaults", task, ()
    for preset in presets:
        yield f"augment={preset}", task, (f"augment={preset}",)
    yield f"experiment=finetune {' '.join(SMALL[task])} init=<a run on the shapes>", task, ("init", *SMALL[task])
    if task == "classification":
        yield "skewed", "skewed", ()
        yield "skewed, data.balance=1", "skewed", ("data.balance=1",)
        yield "skewed, loss.class_weights=balanced", "skewed", ("loss.class_weights=balanced",)
    else:
        for fit in ("stretch", "letterbox"):
            yield f"elongated, data.fit={fit}", f"elongated {task}", (f"data.fit={fit}",)
        yield "elongated, data.image_size=[64,320]", f"elongated {task}", ("data.image_size=[64,320]",)
    yield "shapes, defaults", "shapes", ()
    for preset in presets:
        yield f"shapes, augment={preset}", "shapes", (f"augment={preset}",)


def train(folder: Path, *words: str) -> Path:
    """Train; returns the run folder."""
    before = set((folder / "runs").glob("*"))
    line = [command(folder, "train"), *words, "trainer.progress=false", "trainer=cpu"]
    done = subprocess.run(line, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"train {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    (run,) = set((folder / "runs").glob("*")) - before
    return run


def measure(task: str, name: str, source: str, words: tuple[str, ...]) -> str:
    """Train a row with each seed; returns its line of the table."""
    folder = project(task)
    given = [*words]
    if "init" in words:
        start = train(folder, *SHORT[task][:1])
        given = ["experiment=finetune", f"init={start}/checkpoints/best.ckpt", *words[1:]]
    if source != "shapes":
        given = [*given, f"data={DATA[task]}", f"data.root={sets()[source]}", *SHORT[task]]
    scores, steps, began = [], 0, time.monotonic()
    for seed in SEEDS[task] if source != "shapes" else (0,):
        run = train(folder, f"seed={seed}", *given)
        scores.append(json.loads((run / "metrics.json").read_text())[METRICS[task]])
        with (run / "metrics.csv").open(newline="") as file:
            steps = 1 + max(int(row["step"]) for row in csv.DictReader(file))
    minutes = (time.monotonic() - began) / 60 / len(scores)
    seeds = ", ".join(f"{score:.3f}" for score in scores)
    cells = [task, f"`{name}`", METRICS[task], f"{statistics.mean(scores):.3f}", seeds, steps, f"{minutes:.1f}"]
    return f"| {' | '.join(map(str, cells))} |"


def main(*words: str) -> None:
    """Measure rows and replace their lines in the README."""
    chosen = [word for word in words if word not in DATA]
    for task in [word for word in words if word in DATA] or DATA:
        for name, source, overrides in rows(task):
            if chosen and not any(name.startswith(word) for word in chosen):
                continue
            line = measure(task, name, source, overrides)
            print(line, flush=True)
            before, rest = README.read_text(encoding="utf-8").split(BEGIN)
            content, after = rest.split(END)
            lines = {tuple(row.split(" | ")[:2]): row for row in content.strip().splitlines()[2:]}
            lines[tuple(line.split(" | ")[:2])] = line
            order = [(f"| {task}", f"`{row}`") for task in DATA for row, *_ in rows(task)]
            table = "\n".join([HEADER, *(lines[key] for key in order if key in lines)])
            README.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
