"""The rows: what is measured, against what, and what it is to reach."""

import shutil
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from .pairs import Row, Taken, in_turns
from .projects import ROOT, WORK, command, figures, project, seconds

TASKS = ("classification", "detection", "segmentation")
BY_HAND = ("ema.enabled=false",)  # the loops do not have it
EACH = ("warmup=8", "steps=100")  # the loader fills its queue before
FEW = ("warmup=2", "steps=24")  # of what takes seconds
RESNET50 = ("model.backbone=resnet50", "data.image_size=224", "loader.batch_size=8")
LARGE = ("data=imagefolder", "data.root=photos", "data.image_size=224")  # see inside/loader.py


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
    return float(figures(made, "first_step.py", which)["seconds"])


def trained(task: str, kind: str, data: str, words: tuple[str, ...], **more: str) -> Taken:
    """Two trainings, a step each in turn, in one process: images per second, or milliseconds."""
    found = figures(project(task), "training.py", kind, data, *words, **more)
    return found["ours"], found["floor"]


def memory(task: str, words: tuple[str, ...], which: str) -> float:
    """Gigabytes that a training takes at most; after few steps it is no more."""
    found = figures(project(task), "training.py", which, "loader", *BY_HAND, *words, "warmup=2", "steps=4")
    return float(found["memory"])


def from_files() -> Taken:
    """Images per second from JPEG files; the floor is the lower one of data in memory and loader alone.

    One core for the model, one for the loader: on a machine of two cores they would share them
    otherwise, while the floors have both for themselves.
    """
    figures(project("classification"), "loader.py")  # writes the photos
    words = (*BY_HAND, *LARGE, "loader.workers=1", "warmup=4", "steps=40")
    return trained("classification", "turns", "limit", words, OMP_NUM_THREADS="1", BENCHMARK_BLOCK="2")


def fed(source: str, workers: int, batches: int) -> Taken:
    """Images per second of a training whose model is a wait, in epochs of so many batches."""
    epochs = 6 if batches < 100 else 3
    found = figures(project("classification"), "feed.py", source, *map(str, (workers, batches, epochs)))
    return found["ours"], found["floor"]


def loaded() -> Taken:
    """Images per second of reading, cropping and flipping."""
    found = figures(project("classification"), "loader.py")
    return found["ours"], found["floor"]


@cache
def offline() -> dict[str, list[float]]:
    """Milliseconds of steps and epochs with W&B and without, once for both rows."""
    return figures(project("classification", wandb=True), "tracked.py")


def tracked(what: str) -> Taken:
    """Those of a step or of an epoch."""
    return offline()[f"{what}_ours"], offline()[f"{what}_floor"]


def scored(which: str) -> float:
    """Seconds of mAP."""
    return float(figures(project("detection"), "scores.py", which)["seconds"])


def rows() -> list[Row]:
    """All rows, in the order of the table."""
    imports = "python -c 'import hydra, pydantic'"
    answers: dict[str, tuple[str, ...]] = {
        "train --help": ("--help",),
        "train --cfg job": ("--cfg", "job"),
        "a refused override": ("optimizer.lr=-1",),
    }
    found = [
        Row("generate a project", "cookiecutter on an empty template", "s", 1.25, False, seven(generated)),
        *(Row(name, imports, "s", 1.3, False, seven(partial(answered, words))) for name, words in answers.items()),
        Row("start to first step", "the same step written by hand", "s", 1.15, False, partial(in_turns, first_step)),
    ]
    loop = "a loop written by hand"
    trainings: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {task: (task, (), EACH) for task in TASKS}
    trainings["ResNet-50 at 224 px"] = ("classification", RESNET50, FEW)
    for name, (task, words, steps) in trainings.items():
        rate = partial(trained, task, "turns", "loader", (*BY_HAND, *words, *steps))
        found += [
            Row(f"training, {name}", loop, "images/s", 0.98, True, rate),
            Row(f"memory, {name}", loop, "GB", 1.1, False, partial(in_turns, partial(memory, task, words), 2)),
        ]
    feeds = [
        Row(
            f"feeding from {source}, workers: {workers}, batches of an epoch: {batches}",
            "the slower one of loader and waits", "images/s", 0.95, True, partial(fed, source, workers, batches),
        )
        for source in ("files", "cache")
        for workers in (1, 2)
        for batches in (20, 200)
    ]  # fmt: skip
    average, resume = (
        partial(trained, "classification", which, "memory", ("warmup=8", "steps=240")) for which in ("ema", "resume")
    )
    accumulated = partial(
        trained, "classification", "turns", "loader", (*BY_HAND, *EACH, "trainer.accumulate_grad_batches=2"),
        BENCHMARK_BLOCK="2",
    )  # fmt: skip
    return [
        *found,
        Row("training, two batches a step", loop, "images/s", 0.98, True, accumulated),
        Row("from files to steps", "the loop on data in memory", "images/s", 0.95, True, from_files),
        *feeds,
        Row("loader, one core", "torchcodec's decoder and torchvision's v2 by hand", "images/s", 0.95, True, loaded),
        Row("step with W&B offline", "without", "ms", 1.01, False, partial(tracked, "step")),
        Row("epoch with W&B offline", "without", "ms", 1.03, False, partial(tracked, "epoch")),
        Row("step with EMA", "without", "ms", 1.02, False, average),
        Row("step with exact resume", "without", "ms", 1.01, False, resume),
        Row("mAP, 500 images x 100", "faster-coco-eval by hand", "s", 1.1, False, partial(in_turns, scored)),
    ]


def seven(measure: Callable[[str], float]) -> Callable[[], Taken]:
    """Pairs of what takes little time."""
    return partial(in_turns, measure, 7)
