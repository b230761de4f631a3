"""Scores on held-out images of three data sets: ``uv run python -m benchmarks.held_out [task ...]``.

The images are made from what scikit-learn ships: handwritten digits in folders of classes, the same digits on parts of
two photographs as boxes, and these scenes as masks. Rows of tasks that are not named keep their results.
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
RESULTS = WORK / "held_out.json"
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
    yield "defaults", task, ()
    for preset in ("none", "light", "strong", "aerial", "industrial"):
        yield f"augment={preset}", task, (f"augment={preset}",)
    yield "init=<a run on the shapes> optimizer.lr=0.0005", task, ("init", "optimizer.lr=0.0005")
    if task == "classification":
        yield "skewed", "skewed", ()
        yield "skewed, data.balance=1", "skewed", ("data.balance=1",)
        yield "skewed, loss.class_weights=balanced", "skewed", ("loss.class_weights=balanced",)
    else:
        for fit in ("stretch", "letterbox"):
            yield f"elongated, data.fit={fit}", f"elongated {task}", (f"data.fit={fit}",)
        yield "elongated, data.image_size=[64,320]", f"elongated {task}", ("data.image_size=[64,320]",)


def train(folder: Path, *words: str) -> Path:
    """Train; returns the run folder."""
    before = set((folder / "runs").glob("*"))
    line = [command(folder, "train"), *words, "trainer.progress=false", "trainer=cpu"]
    done = subprocess.run(line, cwd=folder, env=environ(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"train {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    (run,) = set((folder / "runs").glob("*")) - before
    return run


def measure(task: str) -> Iterator[dict[str, Any]]:
    """Train each row with each seed; yields its scores, steps and minutes."""
    seeds = SEEDS[task]
    folder, data = project(task), sets()
    start: Path | None = None
    for name, source, words in rows(task):
        if "init" in words and start is None:
            start = train(folder, *SHORT[task][:1])
        given = [f"init={start}/checkpoints/best.ckpt" if word == "init" else word for word in words]
        scores, steps, began = [], 0, time.monotonic()
        for seed in seeds:
            run = train(folder, f"data={DATA[task]}", f"data.root={data[source]}", f"seed={seed}", *SHORT[task], *given)
            scores.append(json.loads((run / "metrics.json").read_text())[METRICS[task]])
            with (run / "metrics.csv").open(newline="") as file:
                steps = 1 + max(int(row["step"]) for row in csv.DictReader(file))
        minutes = (time.monotonic() - began) / 60 / len(seeds)
        yield {"task": task, "row": name, "scores": scores, "steps": steps, "minutes": minutes}


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| task | row | metric | mean | seeds | steps | minutes |", "|---|---|---|---|---|---|---|"]
    for row in results:
        seeds = ", ".join(f"{score:.3f}" for score in row["scores"])
        mean, minutes = statistics.mean(row["scores"]), row["minutes"]
        cells = [row["task"], f"`{row['row']}`", METRICS[row["task"]], f"{mean:.3f}", seeds, row["steps"]]
        lines.append("| " + " | ".join(map(str, [*cells, f"{minutes:.1f}"])) + " |")
    return "\n".join(lines)


def main(*tasks: str) -> None:
    """Measure the tasks and replace their rows in the README."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    for task in tasks or DATA:
        results = [row for row in kept if row["task"] != task]
        for result in measure(task):
            results.append(result)
            print(json.dumps(result), flush=True)
            RESULTS.write_text(json.dumps(results, indent=1))
        kept = results
    kept.sort(key=lambda row: list(DATA).index(row["task"]))
    text = README.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    README.write_text(f"{before}{BEGIN}\n\n{table(kept)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
