"""Generated projects used as their owners would: installed, checked, trained, stopped, resumed."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, Bake, Project, guest, installed
from PIL import Image

pytestmark = pytest.mark.slow

# Whoever talks to a server is refused at once: nothing may depend on one.
NO_SERVER = {"WANDB_BASE_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
SMALL = ("data.train_images=200", "data.val_images=50", "data.test_images=50", "trainer.progress=false")

MONITORS = {"classification": "val/accuracy", "detection": "val/mAP", "segmentation": "val/mIoU"}
# A metric on the embedded data: at most so much without training, at least so much after it.
LEARNED = {
    "classification": ("accuracy", 0.35, 0.95),  # five classes; 0.99
    "detection": ("mAP_50", 0.10, 0.30),  # 0.43 after an epoch
    "segmentation": ("mIoU", 0.10, 0.30),
}

TASKS = ["stripped", "detection", "segmentation"]
ESSENTIALS = ["essential", "essential_detection", "essential_segmentation"]


KINDS = [*TASKS, *ESSENTIALS, "tracked"]


@pytest.fixture(params=KINDS)
def project(request: pytest.FixtureRequest) -> Project:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Project)
    return found


def use(project: Project, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    done = project.run("uv", "run", "--no-sync", *words, **NO_SERVER, **environ)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def newest(project: Project) -> Path:
    return max((project.folder / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def column(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.parametrize("project", KINDS[:-1], indirect=True)  # the last one is made of parts of the others
def test_a_fresh_project_passes_its_own_checks(project: Project) -> None:
    use(project, "ruff", "check")
    use(project, "ruff", "format", "--check")
    use(project, "mypy")


def test_a_fresh_project_has_nothing_for_its_hooks_to_mend(stripped: Project) -> None:
    lock = stripped.folder / "uv.lock"
    locked = lock.read_text()
    lock.write_text(f"{locked}#{'-' * 600_000}\n")  # those of some tasks exceed 500 KB
    assert stripped.run("git", "init", "--quiet").returncode == 0
    assert stripped.run("git", "add", "--all").returncode == 0
    done = stripped.run("uv", "run", "--no-sync", "pre-commit", "run", "--all-files")
    lock.write_text(locked)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") >= 6


# Tests that do not depend on the task: they run in the project `stripped` only, or where it is said.
SHARED = (
    "test_average",
    "test_channels",
    "test_checkpoints",
    "test_compare",
    "test_extra",
    "test_fast_loader",
    "test_files",
    "test_image_formats",
    "test_images",
    "test_loggers",
    "test_many_channels",
    "test_metrics_file",
    "test_owner",
    "test_performance",
    "test_preemption",
    "test_processes",  # in `tracked`
    "test_resume",  # test_resume.py kills trainings of each task
    "test_slurm",
    "test_speed",
    "test_split",
    "test_steps",
    "test_text_files",
    "test_time_left",
    "test_training",  # the tests of each task train, too, and so do those below
    "test_training_length",
    "test_tune",
    "test_untrusted",
)
# Tests of tracking that do not depend on the task: they run in the project `tracked` only.
TRACKING = ("test_alerts", "test_lineage", "test_media", "test_promote", "test_runs", "test_sweep", "test_sync")

# Tests that differ little between detection and segmentation: they run in the other one.
ONCE = {
    "detection": ("test_cache", "test_evaluation", "test_videos"),
    "segmentation": ("test_diagnostics", "test_predict", "test_settings"),
}

# The tests of the modules that differ most in an essential project.
ESSENTIAL = (
    "test_evaluation",
    "test_predict",
    "test_reading_summary",
    "test_settings",
    "test_training",
    "test_training_length",
)


def own_tests(project: Project) -> list[str]:
    """Choose the tests of a project that have not run in another one already."""
    task, tracked = project.answers["task"], project.answers["use_wandb"]
    tracking = ["tests/tracking"] if tracked else []
    if project.answers["scope"] == "essential":
        core = ESSENTIAL if task == "classification" else ()
        return [*(f"tests/{name}.py" for name in core), f"tests/{task}", *tracking]
    if task == "classification":
        processes = "tests/test_processes.py"
        return [*tracking, processes] if tracked else ["tests", f"--ignore={project.folder / processes}"]
    shared = [project.folder / "tests" / f"{name}.py" for name in (*SHARED, *ONCE[task])]
    shared += [project.folder / "tests" / "tracking" / f"{name}.py" for name in TRACKING]
    assert all(path.is_file() for path in shared)
    return ["tests", *(f"--ignore={path}" for path in shared)]


def test_a_fresh_project_passes_its_own_tests(project: Project) -> None:
    # Two at a time, with one thread each: most of a test of seconds is Python.
    processes = () if "PYTEST_XDIST_WORKER" in os.environ else ("-n2",)
    done = use(project, "pytest", "-q", *processes, *own_tests(project), OMP_NUM_THREADS="1")
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


@pytest.fixture(scope="session")
def learned() -> Callable[[Project], Path]:
    """Train a project with its defaults but for the number of epochs, once; returns the run folder."""
    runs: dict[Path, Path] = {}

    def run(project: Project) -> Path:
        if project.folder not in runs:
            # An epoch of the larger networks shows that they learn; all take ten minutes of a core.
            words = () if project.answers["task"] == "classification" else ("trainer.max_epochs=1",)
            done = use(project, "train", "tracking=none", *words)
            run = runs[project.folder] = newest(project)
            assert str(run.relative_to(project.folder) / "report.html") in done.stdout
            assert (run / "curves.png").is_file()
        return runs[project.folder]

    return run


@pytest.mark.parametrize("project", TASKS, indirect=True)
def test_the_defaults_learn_the_embedded_data(project: Project, learned: Callable[[Project], Path]) -> None:
    metric, most, least = LEARNED[str(project.answers["task"])]
    few = ("trainer.limit_train_batches=1", "trainer.limit_val_batches=4", "trainer.limit_test_batches=1")
    use(project, "train", "optimizer.lr=1e-9", "trainer.max_epochs=1", *few, "tracking=none")
    assert column(newest(project), f"val/{metric}")[0] < most
    run = learned(project)
    assert max(column(run, f"val/{metric}")) >= least
    assert json.loads((run / "metrics.json").read_text())[f"test/{metric}"] >= least
    for picture in run.rglob("*.png"):
        with Image.open(picture) as image:
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10, "an empty picture"


@pytest.mark.parametrize("project", ["stripped", "detection"], indirect=True)
def test_a_checkpoint_is_evaluated_and_predicts(
    project: Project, learned: Callable[[Project], Path], tmp_path: Path
) -> None:
    checkpoint = f"checkpoint={learned(project).relative_to(project.folder)}/checkpoints/best.ckpt"
    use(project, "evaluate", checkpoint, "split=val")
    assert MONITORS[str(project.answers["task"])] in json.loads((newest(project) / "metrics.json").read_text())
    assert [*newest(project).glob("*.png")]
    for mode in ("RGB", "L", "RGBA"):
        Image.new(mode, (100, 70), "red" if mode != "L" else 90).save(tmp_path / f"{mode}.png")
    use(project, "predict", checkpoint, f"source={tmp_path}/*.png")
    rows = json.loads((newest(project) / "predictions.json").read_text())
    assert [Path(row["image"]).name for row in rows] == ["L.png", "RGB.png", "RGBA.png"]
    assert len(list((newest(project) / "predictions").glob("*.jpg"))) == 3


def test_photos_that_are_not_ours_train_with_overrides_alone(stripped: Project, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images[:700], digits.target[:700], strict=True)):
        path = tmp_path / str(label) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(path)
    # The number of epochs and the size only make it shorter.
    use(stripped, "train", "data=imagefolder", f"data.root={tmp_path}", "trainer.max_epochs=10", "data.image_size=32")
    assert max(column(newest(stripped), "val/accuracy")) > 0.9


def scenes(count: int, seed: int) -> Iterator[tuple[Image.Image, list[tuple[int, Any]]]]:
    """Handwritten zeros and ones on parts of a photo, with the pixels [96, 96] of each digit."""
    from sklearn.datasets import load_digits, load_sample_image

    digits: Any = load_digits(n_class=2)
    photo = Image.fromarray(load_sample_image("china.jpg"))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x, y = (int(value) for value in rng.integers(0, (photo.width - 96, photo.height - 96)))
        scene = photo.crop((x, y, x + 96, y + 96))
        found = []
        for left in (0, 48)[: rng.integers(1, 3)]:
            chosen = int(rng.integers(len(digits.images)))
            ink = Image.fromarray((digits.images[chosen] * 255 / 16).astype("uint8")).resize((40, 40))
            cover = Image.new("L", scene.size)
            cover.paste(ink, (left + int(rng.integers(0, 8)), int(rng.integers(0, 56))))
            scene.paste((255, 40, 40), mask=cover)
            found.append((int(digits.target[chosen]), np.asarray(cover) >= 100))
        yield scene, found


def test_a_coco_set_that_is_not_ours_trains_with_overrides_alone(detection: Project, tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for seed, (split, count) in enumerate({"train2017": 400, "val2017": 80}.items()):
        (tmp_path / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, (scene, found) in enumerate(scenes(count, seed)):
            scene.save(tmp_path / split / f"{index:012d}.jpg", quality=95)
            images.append({"id": index, "file_name": f"{index:012d}.jpg", "width": 96, "height": 96})
            for label, pixels in found:
                rows, columns = (np.flatnonzero(pixels.any(axis=axis)).tolist() for axis in (1, 0))
                box = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
                one = {"id": len(annotations), "image_id": index, "category_id": 3 + 40 * label, "bbox": box}
                annotations.append(one | {"area": int(pixels.sum()), "iscrowd": 0})
        categories = [{"id": 3, "name": "zero"}, {"id": 43, "name": "one"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    own = ("data=coco", f"data.root={tmp_path}", "data.image_size=96", "data.augment.flip=0", "tracking=none")
    use(detection, "train", *own, "trainer.max_epochs=8")
    assert max(column(newest(detection), "val/mAP_50")) > 0.6


def test_a_mask_set_that_is_not_ours_trains_with_overrides_alone(segmentation: Project, tmp_path: Path) -> None:
    for seed, (split, count) in enumerate({"train": 300, "val": 60, "test": 60}.items()):
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
        for index, (scene, found) in enumerate(scenes(count, seed)):
            scene.save(tmp_path / "images" / split / f"{index}.jpg", quality=95)
            ids = np.zeros((96, 96), dtype=np.uint8)
            for label, pixels in found:
                ids[pixels] = label + 1
            Image.fromarray(ids).save(tmp_path / "masks" / split / f"{index}.png")
    (tmp_path / "classes.txt").write_text("photo\nzero\none\n")
    own = ("data=maskfolder", f"data.root={tmp_path}", "data.image_size=96", "data.augment.flip=0", "tracking=none")
    use(segmentation, "train", *own, "trainer.max_epochs=3")
    assert max(column(newest(segmentation), "val/mIoU")) > 0.6


def test_a_stripped_project_knows_no_tracker(stripped: Project) -> None:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('wandb') is not None)"
    use(stripped, "python", "-c", code)
    assert "wandb" not in (stripped.folder / "uv.lock").read_text().lower()


def test_a_tracked_project_trains_without_the_package(tracked: Project) -> None:
    left_over = tracked.folder / "wandb"  # as W&B makes it where it was used without this package
    left_over.mkdir()
    try:
        assert tracked.run("uv", "pip", "uninstall", "--python", ".venv", "wandb").returncode == 0
        done = use(tracked, "train", *SMALL, "debug=fast")
        said = [line for line in (done.stdout + done.stderr).splitlines() if "wandb" in line]
        assert said == ["wandb is not installed: this run is not tracked. To track: uv sync"]
        assert (newest(tracked) / "metrics.json").is_file()
        use(tracked, "pytest", "-q", "tests/test_settings.py", "tests/tracking")
    finally:
        left_over.rmdir()
        installed(tracked)


@pytest.mark.parametrize("project", ["tracked", "detection", "segmentation"], indirect=True)
def test_tracking_works_with_a_server(project: Project, tmp_path: Path) -> None:
    # The others do not depend on the task.
    words = () if project.answers["task"] == "classification" else ("-k", "lineage")
    pass_online(project, tmp_path, *words)


def test_tracking_of_an_essential_project_works_with_a_server(essential_detection: Project, tmp_path: Path) -> None:
    pass_online(essential_detection, tmp_path)


def test_tracking_of_an_essential_segmentation_project_works_with_a_server(
    bake: Bake, segmentation: Project, tmp_path: Path
) -> None:
    project = guest(bake(fresh=True, scope="essential", task="segmentation", use_wandb=True), segmentation)
    pass_online(project, tmp_path, "-k", "its_evaluation")


# Inside the project: a server, and the scripts of the workflow with the variables that GitHub gives them.
WORKFLOW = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from server import Server
with Server() as server:
    unset = {"WANDB_ENTITY": "", "WANDB_PROJECT": ""}  # as GitHub passes variables that do not exist
    environ = os.environ | {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": server.url} | unset
    for script in sys.argv[2:]:
        subprocess.run(["bash", "-e", "-c", script], env=environ, check=True, stdout=sys.stderr)
    print(json.dumps([[run.id, run.state, run.project] for run in server.runs.values()]))
"""


def test_the_workflow_trains_with_a_key_and_says_so_without_one(tracked: Project, tmp_path: Path) -> None:
    steps = yaml.safe_load(tracked.text(".github/workflows/train.yml"))["jobs"]["train"]["steps"]
    scripts = {step["name"]: step["run"] for step in steps if "name" in step}
    output, summary = tmp_path / "output", tmp_path / "summary"
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    asks = scripts["Say so where there is no key"]
    done = tracked.run("bash", "-e", "-c", asks, **files, WANDB_API_KEY="")
    assert "::notice title=No training::" in done.stdout
    assert not output.exists()
    overrides = " ".join((*SMALL, "debug=fast", "runs=runs/workflow"))
    link = scripts["Link and metrics"].replace("runs/*", "runs/workflow/*")  # other tests have runs there
    words = ("python", "-c", WORKFLOW, ROOT / "tests" / "standin", asks, scripts["Train"], link)
    done = tracked.run("uv", "run", "--no-sync", *words, **files, OVERRIDES=overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    ((run, state, name),) = json.loads(done.stdout)
    assert (state, name) == ("finished", "shape-sorter")
    assert output.read_text(encoding="utf-8") == "there=true\n"
    assert f"/team/shape-sorter/runs/{run}" in summary.read_text(encoding="utf-8")
    assert "test/accuracy" in summary.read_text(encoding="utf-8")


@pytest.mark.parametrize("release", ["oldest", "pre-release"])
def test_tracking_works_with_another_release_of_wandb(tracked: Project, tmp_path: Path, release: str) -> None:
    if release == "pre-release" and "TRY_PRE_RELEASE" not in os.environ:
        pytest.skip("A pre-release may fail, which a job of its own shows: TRY_PRE_RELEASE=1")
    (oldest,) = re.findall(r'"wandb>=([\d.]+),<1"', tracked.text("pyproject.toml"))
    version = ("python", "-c", "import importlib.metadata; print(importlib.metadata.version('wandb'))")
    tested = use(tracked, *version).stdout.strip()
    if release == "oldest" and f"{tested}.".startswith(f"{oldest}."):
        pytest.skip(f"The oldest release is the one that all other tests use: {tested}")
    wanted = [f"wandb=={oldest}"] if release == "oldest" else ["--prerelease", "allow", "--upgrade", "wandb"]
    try:
        use(tracked, "uv", "pip", "install", "--python", ".venv", *wanted)
        use(tracked, "pytest", "-q", "tests/tracking")
        pass_online(tracked, tmp_path)
    finally:
        installed(tracked)


def pass_online(project: Project, tmp_path: Path, *words: str) -> None:
    """A stand-in server, its tests, and tests of tracking against it, among the tests of the project."""
    tests, standin = tmp_path / "tests", ROOT / "tests" / "standin"
    online = tests / "tracking" / "online"
    shutil.copytree(project.folder / "tests", tests, ignore=shutil.ignore_patterns("__pycache__"))
    if project.answers["scope"] == "essential":
        shutil.copytree(standin / "essential", online)
        shutil.copy(standin / "project" / "conftest.py", online)
    else:
        shutil.copytree(standin / "project", online)
    shutil.copytree(standin / "server", online / "server")
    shutil.copy(standin / "test_server.py", online)
    # More processes than cores, since the tests wait for servers that do not answer.
    options = ("-q", "-n3", "-c", "pyproject.toml", "--rootdir", tests, "-p", "no:cacheprovider")
    # A server that is lost is waited for in vain once for each table and artifact.
    use(project, "pytest", *options, *words, online, OMP_NUM_THREADS="1", WANDB_HTTP_TIMEOUT="2")


def test_detection_works_without_a_tracker(bake: Bake, detection: Project, tmp_path: Path) -> None:
    """Stripped: made anew, and run in the environment of the project that has one."""
    stripped = bake(fresh=True, task="detection", use_wandb=False)
    python = detection.folder / ".venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    code = (
        "import sys; sys.modules['wandb'] = None; sys.path.insert(0, sys.argv.pop(1))\n"
        "from shape_sorter import cli; getattr(cli, sys.argv.pop(1))()"
    )

    def command(name: str, *words: str) -> Path:
        done = stripped.run(python, "-c", code, stripped.folder / "src", name, *words, **NO_SERVER)
        assert done.returncode == 0, done.stderr[-3000:]
        return newest(stripped)

    checkpoint = f"checkpoint={command('train', *SMALL, 'debug=fast')}/checkpoints/best.ckpt"
    assert (command("evaluate", checkpoint) / "metrics.json").is_file()
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    assert (command("predict", checkpoint, f"source={tmp_path}") / "predictions.json").is_file()
