"""Runs of an earlier version of the template, used by the commands of today, and settings that an owner adds."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Bake, Project, guest, require_commit
from cookiecutter.main import cookiecutter

pytestmark = pytest.mark.slow

EARLIER = "a8ede17"  # the last commit before the modules of a project were moved into rooms
TINY = (
    *("data.train_images=40", "data.val_images=20", "data.test_images=20", "data.image_size=64"),
    *("model.backbone=test_resnet", "trainer=cpu", "trainer.max_epochs=2", "trainer.progress=false"),
    *("loader.batch_size=10", "loader.workers=0", "tracking=none"),
)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it was, out of this repository's history."""
    folder = tmp_path_factory.mktemp("earlier")
    require_commit(EARLIER)
    packed = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


@pytest.mark.parametrize("task", ["stripped", "detection"])
def test_a_run_of_an_earlier_version_is_evaluated_predicted_with_and_resumed(
    request: pytest.FixtureRequest, earlier: Path, task: str, tmp_path: Path
) -> None:
    project: Project = request.getfixturevalue(task)
    answers: dict[str, Any] = {"task": project.answers["task"], "use_wandb": project.answers["use_wandb"]}
    cookiecutter(str(earlier), no_input=True, output_dir=str(tmp_path), extra_context=answers)
    python = project.folder / ".venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from shape_sorter.cli import train; train()"
    before = Project(tmp_path / "shape-sorter", answers)
    done = before.run(python, "-c", code, before.folder / "src", *TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (folder for folder in (before.folder / "runs").iterdir() if (folder / "config.yaml").is_file())
    measured = json.loads((run / "metrics.json").read_text())

    def today(command: str, *words: str) -> Path:
        done = project.run("uv", "run", "--no-sync", command, *words, "runs=upgraded", f"data.root={root}")
        assert done.returncode == 0, done.stderr[-3000:]
        return max((project.folder / "upgraded").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)

    root = before.folder / "data" / "shapes"
    checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
    evaluated = today("evaluate", checkpoint, "tracking=none")
    again = json.loads((evaluated / "metrics.json").read_text())
    scores = {name: value for name, value in measured.items() if isinstance(value, float)}
    assert scores
    assert {name: again[name] for name in scores} == pytest.approx(scores, abs=1e-4)
    images = next(root.rglob("test/**/*.png")).parent
    rows = json.loads(
        (today("predict", checkpoint, f"source={images}", "tracking=none") / "predictions.json").read_text()
    )
    assert len(rows) == len(list(images.glob("*.png")))
    (project.folder / "upgraded" / run.name).parent.mkdir(exist_ok=True)
    run.rename(project.folder / "upgraded" / run.name)
    resumed = today("train", f"resume={run.name}", "trainer.max_epochs=3")
    assert resumed.name == run.name
    epochs = [line.split(",")[0] for line in (resumed / "metrics.csv").read_text().splitlines()[1:]]
    assert set(epochs) >= {"0", "1", "2"}


def test_a_setting_that_an_owner_adds_breaks_no_test(bake: Bake, stripped: Project) -> None:
    project = guest(bake(fresh=True, use_wandb=False), stripped)
    defaults = project.package / "configs" / "base.yaml"
    added = {
        project.package / "settings" / "schema.py": ("    seed: int", '    note: str = Field(description="A text.")\n'),
        defaults: ("seed: 0\n", "note: none\n"),
    }
    for path, (before, line) in added.items():
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, line + before), encoding="utf-8")
    words = ("pytest", "-q", "tests/test_settings.py", "tests/test_checkpoints.py")
    done = project.run("uv", "run", "--no-sync", *words, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout[-3000:]
