"""Generated projects used as their owners would: installed, checked, trained, stopped, resumed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Bake, Project
from PIL import Image

pytestmark = pytest.mark.slow

# Whoever talks to a server is refused at once: nothing may depend on one.
NO_SERVER = {"WANDB_BASE_URL": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"}
SMALL = ("data.train_images=200", "data.val_images=50", "data.test_images=50", "trainer.progress=false")


@pytest.fixture(scope="module")
def stripped(bake: Bake) -> Project:
    return installed(bake(fresh=True, use_wandb=False))


@pytest.fixture(scope="module")
def tracked(bake: Bake) -> Project:
    return installed(bake(fresh=True, use_wandb=True))


@pytest.fixture(scope="module")
def stripped_segmentation(bake: Bake) -> Project:
    return installed(bake(fresh=True, task="segmentation", use_wandb=False))


@pytest.fixture(scope="module")
def tracked_segmentation(bake: Bake) -> Project:
    return installed(bake(fresh=True, task="segmentation", use_wandb=True))


ALL = ["stripped", "tracked", "stripped_segmentation", "tracked_segmentation"]


@pytest.fixture(params=ALL)
def project(request: pytest.FixtureRequest) -> Project:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Project)
    return found


def installed(project: Project) -> Project:
    done = project.run("uv", "sync", UV_COMPILE_BYTECODE="1")
    assert done.returncode == 0, done.stderr
    return project


def use(project: Project, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = project.run("uv", "run", "--no-sync", *words, **NO_SERVER)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def newest(project: Project) -> Path:
    return max((project.folder / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)


def column(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_a_fresh_project_passes_its_own_checks(project: Project) -> None:
    use(project, "ruff", "check")
    use(project, "ruff", "format", "--check")
    use(project, "mypy")


def test_a_fresh_project_has_nothing_for_its_hooks_to_mend(stripped: Project) -> None:
    files = [str(path.relative_to(stripped.folder)) for path in stripped.files()]
    assert stripped.run("git", "init", "--quiet").returncode == 0
    assert stripped.run("git", "add", "--", *files).returncode == 0
    done = stripped.run("uv", "run", "--no-sync", "pre-commit", "run", "--all-files")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") >= 6


def test_a_fresh_project_passes_its_own_tests(project: Project) -> None:
    done = use(project, "pytest", "-q")
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


def test_the_defaults_learn_the_embedded_data(stripped: Project) -> None:
    use(stripped, "train", "optimizer.lr=1e-9", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    (untrained,) = column(newest(stripped), "val/accuracy")
    assert 0.1 < untrained < 0.35  # five classes
    done = use(stripped, "train")
    run = newest(stripped)
    assert max(column(run, "val/accuracy")) >= 0.95
    assert json.loads((run / "metrics.json").read_text())["test/accuracy"] >= 0.95
    assert str(run.relative_to(stripped.folder) / "curves.png") in done.stdout
    for picture in run.rglob("*.png"):
        with Image.open(picture) as image:
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10, "an empty picture"


def test_the_defaults_learn_to_segment_the_embedded_data(stripped_segmentation: Project) -> None:
    untrained = ("optimizer.lr=1e-9", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    use(stripped_segmentation, "train", *untrained)
    assert column(newest(stripped_segmentation), "val/mIoU")[0] < 0.25
    use(stripped_segmentation, "train")
    run = newest(stripped_segmentation)
    assert max(column(run, "val/mIoU")) >= 0.90
    assert json.loads((run / "metrics.json").read_text())["test/mIoU"] >= 0.90


def test_a_killed_training_resumes_in_its_folder(project: Project) -> None:
    runs = project.folder / "runs"
    before = set(runs.glob("*"))
    log = project.folder / "killed.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["uv", "run", "--no-sync", "train", *SMALL, "trainer.max_epochs=50"],
            cwd=project.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300
        while not any((run / "checkpoints" / "last.ckpt").is_file() for run in set(runs.glob("*")) - before):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (run,) = set(runs.glob("*")) - before
    epochs = len(column(run, "val/loss")) + 2
    use(project, "train", "resume=auto", f"trainer.max_epochs={epochs}")
    assert newest(project) == run
    assert (run / "metrics.json").is_file()
    with (run / "metrics.csv").open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file) if row["val/loss"]] == list(range(epochs))


def test_a_checkpoint_is_evaluated_and_predicts(project: Project, tmp_path: Path) -> None:
    use(project, "train", *SMALL, "trainer.max_epochs=1")
    checkpoint = f"checkpoint={newest(project).relative_to(project.folder)}/checkpoints/best.ckpt"
    use(project, "evaluate", checkpoint, "split=val")
    assert json.loads((newest(project) / "metrics.json").read_text())["val/loss"] > 0
    assert [*newest(project).glob("*.png")]
    for mode in ("RGB", "L", "RGBA"):
        Image.new(mode, (100, 70), "red" if mode != "L" else 90).save(tmp_path / f"{mode}.png")
    use(project, "predict", checkpoint, f"source={tmp_path}/*.png")
    rows = json.loads((newest(project) / "predictions.json").read_text())
    assert [Path(row["image"]).name for row in rows] == ["L.png", "RGB.png", "RGBA.png"]
    assert len(list((newest(project) / "predictions").glob("*.jpg"))) == 3


def test_photos_that_are_not_ours_train_with_two_overrides(stripped: Project, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = tmp_path / str(label) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(path)
    use(stripped, "train", "data=imagefolder", f"data.root={tmp_path}")
    assert max(column(newest(stripped), "val/accuracy")) > 0.97


def test_a_stripped_project_knows_no_tracker(stripped: Project) -> None:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('wandb') is not None)"
    use(stripped, "python", "-c", code)
    assert "wandb" not in (stripped.folder / "uv.lock").read_text().lower()


def test_an_offline_run_can_be_read_back(tracked: Project) -> None:
    use(tracked, "train", *SMALL, "trainer.max_epochs=2", "tracking.tags=[a-tag]")
    run = newest(tracked)
    code = (
        "import json, sys; from pathlib import Path; sys.path.insert(0, 'tests/tracking')\n"
        "from reading import as_dict, exit_code, history, started\n"
        "run = Path(sys.argv[1]); record = started(run)\n"
        "print(json.dumps([record.run_id, list(record.tags), as_dict(record.config.update),"
        " history(run), exit_code(run)]))"
    )
    run_id, tags, config, rows, code_at_end = json.loads(use(tracked, "python", "-c", code, run).stdout)
    assert (run_id, tags, code_at_end) == (run.name, ["a-tag"], 0)
    assert config["trainer"]["max_epochs"] == 2
    logged = [row["val/accuracy"] for row in rows if "val/accuracy" in row]
    assert logged == pytest.approx(column(run, "val/accuracy"))
    pictures = [row["val/predictions"]["filenames"] for row in rows if "val/predictions" in row]
    assert [len(names) for names in pictures] == [16, 16]
    for name in pictures[0]:
        (path,) = run.glob(f"wandb/offline-run-*/files/{name}")
        with Image.open(path) as image:
            assert image.size == (64, 64)


def test_a_tracked_project_trains_without_the_package(tracked: Project) -> None:
    try:
        assert tracked.run("uv", "pip", "uninstall", "wandb").returncode == 0
        done = use(tracked, "train", *SMALL, "debug=fast")
        said = [line for line in (done.stdout + done.stderr).splitlines() if "wandb" in line]
        assert said == ["wandb is not installed: this run is not tracked. To track: uv sync"]
        assert (newest(tracked) / "metrics.json").is_file()
        use(tracked, "pytest", "-q", "tests/test_settings.py", "tests/tracking")
    finally:
        installed(tracked)


def test_a_tree_without_hooks_still_trains(stripped: Project, tmp_path: Path) -> None:
    from conftest import ROOT
    from cookiecutter.main import cookiecutter

    cookiecutter(str(ROOT), no_input=True, output_dir=str(tmp_path), accept_hooks=False)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from shape_sorter.cli import train; train()"
    python = stripped.folder / ".venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    unstripped = Project(tmp_path / "shape-sorter", stripped.answers)
    done = unstripped.run(python, "-c", code, unstripped.folder / "src", *SMALL, "debug=fast", **NO_SERVER)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (newest(unstripped) / "metrics.json").is_file()
