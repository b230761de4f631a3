"""The patches of docs/recipes.md: they apply, pass the project's checks, and change what they say."""

import ast
import csv
import json
import os
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Bake, Project, guest
from PIL import Image
from test_generated import column, newest, use

pytestmark = pytest.mark.slow

RECIPES = ("backbone", "augmentation", "metric", "data format", "loss", "logger")  # and in essential projects: a task
SMALL = (
    "model.backbone=plain_net",
    "data.image_size=64",
    "data.fit=stretch",
    "data.augment={crop_scale:1,flip:0,color:0,grey:0.5}",
    "loader.batch_size=10",
    "loader.workers=0",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.progress=false",
)
OWN = {
    "classification": ("data=json", "model.focal_gamma=2"),
    "detection": ("data=table", "model.box_loss_weight=1000", "model.channels=64", "data.augment.rotate=0"),
    "segmentation": ("data=sidebyside", "model.loss=[tversky]", "model.decoder_channels=32", "data.augment.rotate=0"),
}
MONITORS = {"classification": "val/balanced", "detection": "val/mAR", "segmentation": "val/worst_IoU"}
# What tests/inside/recipes.py computes of cases that can be checked in one's head.
METRICS = {"classification": 0.5, "detection": 0.5, "segmentation": 0.5}
LOSSES = {"classification": 0.2**2 * 0.22314, "detection": 0, "segmentation": 1 - (1 / 1.3 + 2 / 2.7) / 2}
TARGETS = {
    "classification": 1,
    "detection": [[pytest.approx([0.25, 0.25, 0.75, 0.5])], [1], [pytest.approx(0.125 * 48 * 40)]],
    "segmentation": [32 * 64, 32 * 64],
}


def patches(project: Project) -> list[str]:
    found = re.findall(r"```diff\n(.*?)```", project.text("docs/recipes.md"), flags=re.DOTALL)
    assert len(found) == len(RECIPES) + (project.answers["scope"] == "essential")
    return found


def git(project: Project, *words: str) -> None:
    done = project.run("git", "-c", "user.name=a", "-c", "user.email=a@b", *words)
    assert done.returncode == 0, done.stderr


def apply(project: Project, patch: str) -> None:
    path = project.folder / "recipe.patch"
    path.write_text(patch, encoding="utf-8")
    git(project, "apply", "recipe.patch")
    path.unlink()


def write_images(task: str, root: Path) -> None:
    """Blue images and images that are red in part or in whole, in the format that the recipe reads."""
    rows = []
    for split, count in {"train": 20, "val": 10, "test": 10}.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            red = index % 2 == 1
            image = Image.new("RGB", (48, 40), (20, 40, 200))
            if task == "segmentation":
                mask = Image.new("L", image.size, 0)
                mask.paste(1, (24, 0, 48, 40))
                mask.save(root / split / f"{index}_mask.png")
            area = {"classification": (0, 0, 48, 40), "detection": (12, 10, 36, 20), "segmentation": (24, 0, 48, 40)}
            if red or task != "classification":
                image.paste((200, 40, 20) if red else (20, 200, 40), area[task])
            image.save(root / split / f"{index}.jpg", quality=95)
            row = {"image": f"{split}/{index}.jpg", "label": "red" if red else "green", "split": split}
            corners = {"x1": 0.25, "y1": 0.25, "x2": 0.75, "y2": 0.5} if task == "detection" else {}
            rows.append(row | corners)
    if task == "segmentation":
        (root / "classes.txt").write_text("left\nright\n")
        return
    if task == "classification":
        (root / "images.json").write_text(json.dumps(rows))
        return
    with (root / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(params=["stripped", "detection", "segmentation"])
def host(request: pytest.FixtureRequest) -> Project:
    """A project whose environment runs the projects that are patched."""
    project = request.getfixturevalue(request.param)
    assert isinstance(project, Project)
    return project


@pytest.mark.parametrize("scope", ["complete", "essential"])
def test_each_recipe_applies_alone_and_is_clean(bake: Bake, host: Project, scope: str) -> None:
    project = guest(bake(fresh=True, task=host.answers["task"], scope=scope), host)
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "generated")
    for index, patch in enumerate(patches(project)):
        apply(project, patch)
        use(project, "ruff", "check")
        use(project, "ruff", "format", "--check")
        git(project, "add", "--all")
        changed = project.run("git", "diff", "--cached", "--name-only").stdout.split()
        assert 1 <= len(changed) <= (3 if index < len(RECIPES) else 17)
        git(project, "reset", "--quiet", "--hard")


def test_all_recipes_together_do_what_they_say(bake: Bake, host: Project, tmp_path: Path) -> None:
    task = str(host.answers["task"])
    project = guest(bake(fresh=True, task=task), host)
    git(project, "init", "--quiet")
    for patch in patches(project):
        apply(project, patch)
    use(project, "ruff", "check")
    use(project, "mypy")

    write_images(task, tmp_path / "images")
    words = [*OWN[task], *SMALL, f"data.root={tmp_path / 'images'}"]
    if task == "classification":  # the logger is the same in all tasks
        target = ("--target", tmp_path / "mlflow", "--python", host.folder / ".venv")
        assert host.run("uv", "pip", "install", "--quiet", *target, "mlflow-skinny").returncode == 0
        path = os.pathsep.join([str(project.folder / "src"), str(tmp_path / "mlflow")])
        use(project, "train", *words, "tracking=mlflow", PYTHONPATH=path, MLFLOW_DISABLE_TELEMETRY="true")
    else:
        use(project, "train", *words, "tracking=none")
    run = newest(project)
    probe: dict[str, Any] = json.loads(
        use(project, "python", ROOT / "tests" / "inside" / "recipes.py", run).stdout.splitlines()[-1]
    )

    assert probe["convolution"] == [16, 3, 3, 3]  # backbone
    assert probe["colour"] == [0, 200]  # augmentation: some images are grey
    assert probe["metric"] == pytest.approx(METRICS[task])
    scores = column(run, MONITORS[task])
    assert len(scores) == 2
    assert probe["monitored"] == [MONITORS[task], pytest.approx(max(scores))]
    classes = ["left", "right"] if task == "segmentation" else ["green", "red"]
    assert probe["data"] == {"classes": classes, "sizes": [20, 10, 10], "target": TARGETS[task]}
    assert probe["loss"] == pytest.approx(LOSSES[task], abs=1e-4)
    if task == "classification":
        assert max(column(run, "train/loss")) < min(column(run, "val/loss"))  # focal, and not
        with sqlite3.connect(project.folder / "mlflow.db") as database:
            logged = database.execute("select value from metrics where key = ? order by step", [MONITORS[task]])
            assert [value for (value,) in logged] == pytest.approx(scores)
    elif task == "detection":
        assert min(column(run, "train/loss_bbox_regression")) > 100 * max(column(run, "train/loss_classification"))


def write_numbers(root: Path) -> dict[str, list[float]]:
    """Grey images, whose numbers are their lightness and its opposite; returns the numbers of those for the test."""
    rows, tested = [], {}
    for split, count in {"train": 40, "val": 10, "test": 10}.items():
        (root / split).mkdir(parents=True)
        for index in range(count):
            grey = round(255 * index / (count - 1))
            path = root / split / f"{index}.png"
            Image.new("RGB", (48, 40), (grey, grey, grey)).save(path)
            numbers = [grey / 255, 1 - grey / 255]
            rows.append([f"{split}/{index}.png", split, *numbers])
            if split == "test":
                tested[str(path)] = numbers
    (root / "train" / "damaged.png").write_bytes(b"damaged")
    rows.append(["train/damaged.png", "train", 0, 0])
    with (root / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "split", "light", "dark"], *rows])
    return tested


def test_a_new_task_is_trained_evaluated_and_predicted(bake: Bake, host: Project, tmp_path: Path) -> None:
    answers = {name: host.answers[name] for name in ("task", "use_wandb")}
    project = guest(bake(fresh=True, scope="essential", **answers), host)
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "generated")
    apply(project, patches(project)[-1])
    guide = project.text("docs/recipes.md").partition("## A task")[2]
    for line in re.findall(r"^git (.* rm .*)", guide, flags=re.MULTILINE):
        git(project, *shlex.split(line))
    assert not (project.package / str(answers["task"])).exists()
    use(project, "ruff", "check", "src")
    use(project, "ruff", "format", "--check", "src")
    use(project, "mypy")

    expected = write_numbers(tmp_path / "images")
    plain = ("trainer=cpu", "tracking=none", "trainer.progress=false", "loader.workers=0", "data.skip_unreadable=true")
    words = (f"data.root={tmp_path / 'images'}", "data.image_size=32", "loader.batch_size=10", *plain)
    use(project, "train", *words, "debug=fast")
    use(project, "train", *words, "trainer.max_epochs=20", "optimizer.lr=0.01", "ema.enabled=false")
    trained = newest(project)
    errors = column(trained, "val/MAE")
    assert errors[0] > 0.2  # that of the mean of the numbers is about 0.25
    assert min(errors) < 0.1
    scores = json.loads((trained / "metrics.json").read_text())
    assert scores["test/MAE"] == pytest.approx(sum(scores["MAE_by_class"].values()) / 2, abs=1e-5)
    assert not (trained / "confusion_matrix.png").exists()

    checkpoint = f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}"
    use(project, "evaluate", checkpoint, *plain)
    assert json.loads((newest(project) / "metrics.json").read_text())["test/MAE"] == pytest.approx(scores["test/MAE"])
    use(project, "predict", checkpoint, f"source={tmp_path / 'images' / 'test'}", *plain)
    with (newest(project) / "predictions.csv").open(newline="") as file:
        found = {row["image"]: [float(row["light"]), float(row["dark"])] for row in csv.DictReader(file)}
    assert found.keys() == expected.keys()
    differences = [abs(a - b) for name in found for a, b in zip(found[name], expected[name], strict=True)]
    assert sum(differences) / 20 == pytest.approx(scores["test/MAE"], abs=1e-5)


@pytest.mark.parametrize("task", OWN)
def test_the_guide_names_the_functions_of_a_task(bake: Bake, task: str) -> None:
    project = bake(task=task)
    guide = "".join(re.findall(r"```python\n(.*?)```", project.text("docs/recipes.md"), flags=re.DOTALL))
    written: dict[str, list[str]] = {}
    for path in (project.package / task).glob("*.py"):
        code = re.sub(r"\w+Module\(LightningModule\)", "TaskModule(LightningModule)", path.read_text(encoding="utf-8"))
        written |= signatures(code)
    shown = signatures(guide)
    assert shown == {name: written.get(name) for name in shown}
    imports = [
        alias.name
        for folder in (".", "inference", "export", "diagnostics")
        for path in (project.package / folder).glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{task}.")
        for alias in node.names
    ]
    functions = {name for name in imports if name.islower()}
    assert "build_datasets" in functions
    adapted = {"target_labels", "coco_source"}  # in image_checks.py and card.py, which the table names
    assert functions <= set(shown) | adapted


def signatures(code: str) -> dict[str, list[str]]:
    """The names of the arguments of each function and method, without a leading underscore."""
    tree = ast.parse(code)
    bodies = {"": tree.body} | {f"{node.name}.": node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    return {
        prefix + node.name: [argument.arg.lstrip("_") for argument in (*node.args.args, *node.args.kwonlyargs)]
        for prefix, body in bodies.items()
        for node in body
        if isinstance(node, ast.FunctionDef)
    }
