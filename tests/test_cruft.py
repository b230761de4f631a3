"""A project follows its template by cruft: other answers, a newer template, and the owner's edits kept."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, require_commit
from cookiecutter.main import cookiecutter
from matrix import TRACES

pytestmark = pytest.mark.slow

# The last commit before the modules were sorted into folders.
BEFORE_THE_FOLDERS = "a8ede17ec272436948e50ecd029a6af35e8fa8b3"


def run(folder: Path, *words: str | Path) -> str:
    """Run a command that needs neither the network nor the user's own settings."""
    nobody = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
    }
    environ = os.environ | nobody | {"HOME": str(folder.parent), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clone this repository, with what is not committed yet as a last commit."""
    clone = tmp_path_factory.mktemp("cruft") / "template"
    run(clone.parent, "git", "clone", "--quiet", ROOT, clone)
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
        elif name:
            (clone / name).unlink(missing_ok=True)
    commit(clone, "The working tree")
    return clone


def create(template: Path, folder: Path, checkout: str | None = None, **answers: Any) -> Path:
    """Generate a project by cruft and commit it, as its owner would."""
    words = ("create", str(template), "--output-dir", str(folder), "--no-input", "--default-config")
    words = (*words, "--extra-context", json.dumps(answers), *(("--checkout", checkout) if checkout else ()))
    run(folder, sys.executable, "-m", "cruft", *words)
    project = folder / "shape-sorter"
    run(project, "git", "init", "--quiet")
    commit(project, "As generated")
    return project


def update(project: Path, **answers: Any) -> None:
    changed = ("--variables-to-update", json.dumps(answers)) if answers else ()
    run(project, sys.executable, "-m", "cruft", "update", "--skip-apply-ask", *changed)
    commit(project, "Updated")


def edit(project: Path) -> None:
    """Edit files that have conditional lines, and add one to a folder that belongs to an option."""
    for name, old, new in (
        ("pyproject.toml", '  "rich>=14.0",\n', '  "polars>=1.30",\n  "rich>=14.0",\n'),
        ("README.md", "# Shape Sorter\n", "# Shape Sorter\n\nThe shapes are ours.\n"),
        (".gitignore", "__pycache__/\n", "__pycache__/\n/photos/\n"),
    ):
        path = project / name
        text = path.read_text(encoding="utf-8")
        assert old in text, name
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    own = project / "src" / "shape_sorter" / "tracking" / "own.py"
    own.parent.mkdir(exist_ok=True)
    own.write_text('"""The owner\'s own module."""\n', encoding="utf-8")


def contents(project: Path) -> dict[str, bytes]:
    """All files of a project, without git's and cruft's own."""
    paths = [path for path in project.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {str(path.relative_to(project)): path.read_bytes() for path in paths if path.name != ".cruft.json"}


def fresh(template: Path, folder: Path, **answers: Any) -> Path:
    """Generate a project by cookiecutter, for a comparison."""
    folder.mkdir()
    return Path(cookiecutter(str(template), no_input=True, output_dir=str(folder), extra_context=answers))


def test_an_owner_changes_the_mind_about_an_option_in_both_directions_and_keeps_the_edits(
    template: Path, tmp_path: Path
) -> None:
    answers: dict[str, Any] = {"use_wandb": False, "scope": "essential"}
    project = create(template, tmp_path, **answers)
    edit(project)
    commit(project, "Edits")
    changes = [("use_wandb", True), ("scope", "complete"), ("use_wandb", False), ("scope", "essential")]
    for turn, (option, answer) in enumerate(changes):
        answers[option] = answer
        update(project, **{option: answer})
        expected = fresh(template, tmp_path / str(turn), **answers)
        edit(expected)
        assert contents(project) == contents(expected), f"{option} becomes {answer}"
    traces = re.compile(TRACES["use_wandb"].encode(), re.IGNORECASE)
    assert not [name for name, content in contents(project).items() if traces.search(name.encode() + content)]


def test_a_project_without_edits_becomes_what_the_template_generates_today(template: Path, tmp_path: Path) -> None:
    require_commit(BEFORE_THE_FOLDERS)
    for task in ("classification", "detection", "segmentation"):
        folder = tmp_path / task
        folder.mkdir()
        project = create(template, folder, BEFORE_THE_FOLDERS, task=task, use_wandb=True)
        assert (project / "src" / "shape_sorter" / "callbacks").is_dir()
        update(project)
        expected = fresh(template, folder / "fresh", task=task, use_wandb=True)
        assert contents(project) == contents(expected)


def test_files_of_the_owner_where_an_option_has_its_own_survive_the_option_and_its_end(
    template: Path, tmp_path: Path
) -> None:
    declined: dict[str, Any] = {"use_docker": False, "ci": "none", "license": "none", "use_wandb": False}
    project = create(template, tmp_path, **declined)
    own = [
        *("Dockerfile", "LICENSE", ".github/workflows/ci.yml", ".github/workflows/own.yml"),
        *("sweeps/mine.yaml", "src/shape_sorter/tracking/own.py"),
    ]
    for name in own:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("mine\n", encoding="utf-8")
    commit(project, "The owner's files")
    update(project, use_docker=True, ci="github", license="MIT", use_wandb=True)
    for name in own:
        assert re.match(r"(<<<<<<< .*\n)?mine\n", (project / name).read_text(encoding="utf-8")), name
    for name in own:
        (project / name).write_text("mine\n", encoding="utf-8")
    with (project / ".dockerignore").open("a", encoding="utf-8") as file:
        file.write("edited\n")
    commit(project, "Conflicts resolved, and an edit to a file of an option")
    update(project, **declined)
    assert [name for name in own if (project / name).read_text(encoding="utf-8") != "mine\n"] == []
    assert (project / ".dockerignore").read_text(encoding="utf-8").endswith("edited\n")
    assert not (project / "compose.yaml").exists()
    assert not (project / "sweep.yaml").exists()


def test_cruft_creates_a_project_over_the_owners_files(template: Path, tmp_path: Path) -> None:
    own = tmp_path / "shape-sorter" / ".github" / "workflows" / "ci.yml"
    own.parent.mkdir(parents=True)
    own.write_text("mine", encoding="utf-8")
    words = ("--output-dir", tmp_path, "--no-input", "--overwrite-if-exists", "--extra-context", '{"ci": "none"}')
    run(tmp_path, sys.executable, "-m", "cruft", "create", template, *words)
    assert own.read_text(encoding="utf-8") == "mine"
