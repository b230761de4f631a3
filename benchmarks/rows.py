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
    "model.backbone=resnet50", "data.image_size=224", "loader.batch_size=8", "warmup=1", "steps=4",
)  # fmt: skip
FEW = 3  # pairs of what takes half a minute: all rows together take less than 20
SHORT = ("warmup=16", "steps=32")  # the loader fills its queue before: 8 batches


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


class Shared:
    """Several figures of the same processes: the row of the first one measures, the others recall."""

    def __init__(self, measure: Callable[[str], dict[str, float]]) -> None:
        self.measure = measure
        self.taken: dict[str, list[dict[str, float]]] = {"ours": [], "floor": []}

    def first(self, figure: str, which: str) -> float:
        """Measure; as often as ``pairs.compare`` asks."""
        self.taken[which].append(self.measure(which))
        return self.taken[which][-1][figure]

    def then(self, figure: str, which: str) -> float:
        """Recall, in the order of measuring."""
        if not self.taken[which]:
            self.first(figure, which)
        return self.taken[which].pop(0)[figure]


def trained(task: str, words: tuple[str, ...], which: str) -> dict[str, float]:
    """Rate and memory of a training without the average of the weights, which the loops do not have."""
    return figures(project(task), "training.py", which, "loader", "ema.enabled=false", *words)


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


def inside(task: str, script: str, figure: str, which: str) -> float:
    """A figure of a script."""
    return figures(project(task), script, which)[figure]


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
    trainings: dict[str, tuple[str, tuple[str, ...]]] = {task: (task, SHORT) for task in TASKS}
    trainings["ResNet-50 at 224 px"] = ("classification", RESNET50)
    for name, (task, words) in trainings.items():
        runs = Shared(partial(trained, task, words))
        found.append(
            Row(f"training, {name}", loop, "images/s", 0.98, True, partial(runs.first, "images_per_second"), FEW)
        )
        found.append(Row(f"memory, {name}", loop, "GB", 1.1, False, partial(runs.then, "memory"), FEW))
    by_script: dict[str, Callable[[str], float]] = {
        "loader": partial(inside, "classification", "loader.py", "images_per_second"),
        "mAP": partial(inside, "detection", "scores.py", "seconds"),
    }
    tracked = Shared(lambda which: figures(project("classification", wandb=True), "tracked.py", which))
    return [
        *found,
        Row("from files to steps", "the loop on data in memory", "images/s", 0.95, True, end_to_end, FEW),
        Row("loader, one core", "torchvision's decoder and v2 by hand", "images/s", 0.95, True, by_script["loader"]),
        Row("step with W&B offline", "without", "ms", 1.01, False, partial(tracked.first, "step"), FEW),
        Row("epoch with W&B offline", "without", "ms", 1.03, False, partial(tracked.then, "epoch"), FEW),
        Row("step with EMA", "without", "ms", 1.02, False, averaged, FEW),
        Row("mAP, 500 images x 100", "faster-coco-eval by hand", "s", 1.1, False, by_script["mAP"]),
    ]
