"""The rows: what is measured, against what, and what it is to reach."""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .pairs import Row
from .projects import ROOT, WORK, command, figures, project, seconds

TASKS = ("classification", "detection", "segmentation")
RESNET50 = (
    "model.backbone=resnet50", "data.image_size=224", "loader.batch_size=8", "warmup=1", "steps=5",
)  # fmt: skip
SHORT = ("warmup=5", "steps=30")


def generated(which: str) -> float:
    """Seconds to generate a project without questions, or an empty template."""
    empty = WORK / "empty"
    inner = empty / "{{cookiecutter.name}}"
    inner.mkdir(parents=True, exist_ok=True)
    (empty / "cookiecutter.json").write_text('{"name": "nothing"}', encoding="utf-8")
    (inner / "README.md").touch()
    target = WORK / "generated"
    shutil.rmtree(target, ignore_errors=True)
    words = [str(Path(sys.executable).with_name("cookiecutter")), str(ROOT if which == "ours" else empty)]
    return seconds([*words, "--no-input", "--output-dir", str(target)])


def answered(words: tuple[str, ...], which: str) -> float:
    """Seconds until a command of a project answers, or Python has imported Hydra and pydantic."""
    made = project("classification")
    if which == "floor":
        return seconds([command(made, "python"), "-c", "import hydra, pydantic"], cwd=made)
    return seconds([command(made, "train"), *words], cwd=made, codes=(0, 1))


def first_step(which: str) -> float:
    """Seconds from the start of a process to the end of its first step."""
    made = project("classification")
    if not list(made.glob("data/shapes/*/train")):
        figures(made, "training.py", "ours", "loader", "warmup=1", "steps=1")  # draws the data
    return figures(made, "first_step.py", which)["seconds"]


class Training:
    """Rates and memory of a task's trainings; both figures come from the same processes."""

    def __init__(self, task: str, *words: str, data: str = "loader") -> None:
        self.task, self.words, self.data = task, words, data
        self.taken: dict[str, list[dict[str, float]]] = {"ours": [], "floor": []}

    def rate(self, which: str) -> float:
        """Images per second."""
        found = figures(project(self.task), "training.py", which, self.data, "ema.enabled=false", *self.words)
        self.taken[which].append(found)
        return found["images_per_second"]

    def memory(self, which: str) -> float:
        """Gigabytes that the process held at most; of the trainings that were timed."""
        return self.taken[which].pop(0)["memory"] * 1024 / 1e9


def end_to_end(which: str) -> float:
    """Images per second from files; the floor is the lower one of data in memory and loader alone."""
    made = project("classification")
    if which == "ours":
        return figures(made, "training.py", "ours", "loader", "ema.enabled=false", *SHORT)["images_per_second"]
    alone = (figures(made, "training.py", "floor", data, "ema.enabled=false", *SHORT) for data in ("memory", "alone"))
    return min(found["images_per_second"] for found in alone)


def averaged(which: str) -> float:
    """Milliseconds of a step with and without the average of the weights."""
    switch = f"ema.enabled={str(which == 'ours').lower()}"
    found = figures(project("classification"), "training.py", "ours", "memory", switch, *SHORT)
    return 32_000 / found["images_per_second"]


def inside(task: str, script: str, figure: str, which: str, *, wandb: bool = False) -> float:
    """A figure of a script."""
    return figures(project(task, wandb=wandb), script, which)[figure]


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    imports = "python -c 'import hydra, pydantic'"
    answers: dict[str, tuple[str, ...]] = {
        "train --help": ("--help",),
        "train --cfg job": ("--cfg", "job"),
        "a refused override": ("optimizer.lr=-1",),
    }
    found = [
        Row("generate a project", "cookiecutter on an empty template", "s", 1.25, False, generated, 7),
        *(Row(name, imports, "s", 1.3, False, partial(answered, words), 7) for name, words in answers.items()),
        Row("start to first step", "the same step written by hand", "s", 1.15, False, first_step),
    ]
    loop = "a loop written by hand"
    trainings = {f"training, {task}": Training(task, *SHORT) for task in TASKS}
    trainings["training, ResNet-50 at 224 px"] = Training("classification", *RESNET50)
    for name, training in trainings.items():
        found.append(Row(name, loop, "images/s", 0.98, True, training.rate, 5))
        found.append(Row(f"memory, {name.removeprefix('training, ')}", loop, "GB", 1.1, False, training.memory, 5))
    by_script: dict[str, Callable[[str], float]] = {
        "loader": partial(inside, "classification", "loader.py", "images_per_second"),
        "mAP": partial(inside, "detection", "scores.py", "seconds"),
        "step": partial(inside, "classification", "tracked.py", "step", wandb=True),
        "epoch": partial(inside, "classification", "tracked.py", "epoch", wandb=True),
    }
    return [
        *found,
        Row("from files to steps", "the loop on data in memory", "images/s", 0.95, True, end_to_end),
        Row("loader, one core", "torchvision's decoder and v2 by hand", "images/s", 0.95, True, by_script["loader"]),
        Row("step with W&B offline", "without", "ms", 1.01, False, by_script["step"]),
        Row("epoch with W&B offline", "without", "ms", 1.03, False, by_script["epoch"]),
        Row("step with EMA", "without", "ms", 1.02, False, averaged),
        Row("mAP, 500 images x 100", "faster-coco-eval by hand", "s", 1.1, False, by_script["mAP"]),
    ]
