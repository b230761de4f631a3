"""Generating into a folder that exists: nothing that belongs to a declined option is changed or removed."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import GOOD, ROOT, TEMPLATE, Bake, Load
from cookiecutter.main import cookiecutter
from matrix import declinable

PROJECT = "{{cookiecutter.project_slug}}"
EVERYTHING_DECLINED = {**declinable(), "task": "detection"}
DECLINED: list[dict[str, Any]] = [{key: value} for key, value in EVERYTHING_DECLINED.items()]


def generate(folder: Path, **options: Any) -> Path:
    """Generate in ``folder``, over a project that is there: ``cookiecutter -f``."""
    answers = {key: options.pop(key) for key in [*options] if key in TEMPLATE}
    options = {"no_input": True, "extra_context": answers, "overwrite_if_exists": True} | options
    return Path(cookiecutter(str(ROOT), output_dir=str(folder), default_config=True, **options))


def state(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """The mode, the inode and the content, the target or the names of all paths below a folder."""

    def read(path: Path) -> bytes:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        return path.read_bytes() if path.is_file() else b""

    paths = [Path(folder, name) for folder, folders, files in os.walk(root) for name in [*folders, *files]]
    return {str(path.relative_to(root)): (path.lstat().st_mode, path.lstat().st_ino, read(path)) for path in paths}


def left_out(answers: dict[str, Any]) -> list[str]:
    """The paths of the files that are not generated for some answers, others being the defaults."""
    answers = GOOD | {"use_wandb": True} | answers
    by_answers = [(options.split(), paths) for options, paths in TEMPLATE["_left_out"].items()]
    chosen = [paths.get(" ".join(str(answers[option]) for option in options), []) for options, paths in by_answers]
    return [path.format(**answers) for paths in chosen for path in paths]


def plant(root: Path, answers: dict[str, Any]) -> None:
    """Put the user's own files where the template has files that the answers decline."""
    inner = ROOT / PROJECT
    for name in left_out(answers):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if (inner / name.replace("shape_sorter", "{{cookiecutter.package_name}}")).is_dir():
            path.mkdir(exist_ok=True)
            (path / "mine.txt").write_text("mine")
            (path / "__init__.py").write_text("mine")
        else:
            path.write_text("mine")


@pytest.mark.parametrize(
    ("answers", "skip"),
    [*((answers, False) for answers in [*DECLINED, EVERYTHING_DECLINED]), (EVERYTHING_DECLINED, True)],
)
def test_what_stood_at_the_paths_of_declined_options_is_as_it_was(
    bake: Bake, tmp_path: Path, answers: dict[str, Any], skip: bool
) -> None:
    root = tmp_path / "shape-sorter"
    plant(root, answers)
    before = state(root)
    generate(tmp_path, skip_if_file_exists=skip, **answers)
    after = state(root)
    assert after.items() >= before.items()
    expected = state(bake(**answers).folder)
    assert after.keys() == before.keys() | expected.keys()
    assert not [name for name in expected.keys() - before.keys() if after[name][2] != expected[name][2]]


def test_a_project_that_gives_up_tracking_keeps_its_edits_and_its_own_files(bake: Bake, tmp_path: Path) -> None:
    root = generate(tmp_path, use_wandb=True)
    tracking = root / "src" / "shape_sorter" / "tracking"
    (tracking / "own.py").write_text("mine")
    (tracking / "logger.py").write_text("edited")
    (root / "sweeps" / "mine.yaml").write_text("mine")
    before = {name: state(root / name) for name in ("sweeps", str(tracking.relative_to(root)))}
    generate(tmp_path, use_wandb=False)
    assert {name: state(root / name) for name in before} == before
    expected = bake(use_wandb=False)
    for path in expected.files():
        assert (root / path.relative_to(expected.folder)).read_bytes() == path.read_bytes()


def test_links_empty_folders_and_files_of_another_kind_are_as_they_were(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "shape-sorter", tmp_path / "elsewhere"
    (elsewhere / "workflows").mkdir(parents=True)
    (elsewhere / "workflows" / "ci.yml").write_text("mine")
    (root / "docs").mkdir(parents=True)
    (root / ".github").symlink_to(elsewhere)
    (root / "Dockerfile").symlink_to("nowhere")
    (root / "LICENSE").write_text("mine")
    (root / "LICENSE").chmod(0o400)
    (root / "sweeps").write_text("a file where the template has a folder")
    (root / "sweep.yaml").mkdir()
    (root / "runs").mkdir()
    (tmp_path / "disk").mkdir()
    (root / "data").symlink_to(tmp_path / "disk")
    before, outside = state(root), state(elsewhere)
    generate(tmp_path, **EVERYTHING_DECLINED)
    assert state(root).items() >= before.items()
    assert state(elsewhere) == outside
    assert not [*(tmp_path / "disk").iterdir()]


def test_skipping_existing_files_keeps_all_edits_and_overwriting_replaces_them(tmp_path: Path) -> None:
    root = generate(tmp_path)
    package = root / "src" / "shape_sorter"
    edited = [package / "classification" / "network.py", package / "train.py", root / "README.md"]
    for path in edited:
        path.write_text("edited")
    own = package / "training" / "callbacks" / "own.py"
    own.write_text("mine")
    generate(tmp_path, skip_if_file_exists=True)
    assert [path.read_text() for path in [*edited, own]] == ["edited"] * 3 + ["mine"]
    generate(tmp_path)
    assert not [path for path in edited if path.read_text() == "edited"]
    assert own.read_text() == "mine"


@pytest.mark.parametrize("next_answer", [False, True])
def test_an_interrupted_generation_loses_nothing_and_the_next_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], next_answer: bool
) -> None:
    root = tmp_path / "shape-sorter"
    root.mkdir()
    (root / "Dockerfile").write_text("mine")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cookiecutter.generate.generate_file", killed)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path, use_docker=False)
    interrupted = state(root)
    with pytest.raises(Exception, match="Hook script failed"):
        generate(tmp_path, use_docker=next_answer)
    assert "    Dockerfile.set-aside\n" in capfd.readouterr().err
    assert state(root) == interrupted
    shutil.move(root / "Dockerfile.set-aside", root / "Dockerfile")
    generate(tmp_path, use_docker=False)
    assert (root / "Dockerfile").read_text() == "mine"
    assert not [name for name in state(root) if name.endswith(".set-aside")]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("docs", "file", "docs is a file or a link to nothing"),
        ("data", "link", "data is a file or a link to nothing"),  # of Docker, which is declined
        ("README.md", "folder", "README.md is a folder"),
        ("src/shape_sorter/training/callbacks/curves.py", "folder", "curves.py is a folder"),
    ],
)
def test_a_path_that_is_in_the_way_is_named_before_anything_is_changed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, kind: str, reason: str, skip: bool
) -> None:
    root = tmp_path / "shape-sorter"
    path = root / name
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(tmp_path / "not mounted")
    else:
        path.mkdir()
    (root / "Dockerfile").write_text("mine")
    before = state(root)
    with pytest.raises(Exception, match="Hook script failed"):
        generate(tmp_path, use_docker=False, skip_if_file_exists=skip)
    assert reason in capfd.readouterr().err
    assert state(root) == before


def test_a_read_only_folder_is_named_before_anything_is_changed(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "Dockerfile").write_text("mine")
    hook = load("pre_gen_project.py", use_docker=False)
    before = state(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "data")  # root may write everywhere
    assert hook.set_aside(tmp_path, hook.ANSWERS | {"_repo_dir": str(ROOT)}) == 1
    assert "    data is read-only" in capsys.readouterr().err
    assert state(tmp_path) == before


def test_a_file_of_the_user_that_is_named_like_a_mark_stays(tmp_path: Path) -> None:
    own = [tmp_path / ".set-aside", tmp_path / "shape-sorter" / "docs" / ".set-aside"]
    for path in own:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("mine")
    generate(tmp_path, use_docker=False)
    assert [path.read_text() for path in own] == ["mine", "mine"]


def test_a_path_that_cannot_be_set_aside_stops_the_generation_with_everything_as_it_was(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, EVERYTHING_DECLINED)
    (tmp_path / "data" / ".gitkeep").unlink()  # the folder is empty
    before = state(tmp_path)
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name == "LICENSE":
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    hook = load("pre_gen_project.py", **EVERYTHING_DECLINED)
    assert hook.set_aside(tmp_path, hook.ANSWERS) == 1
    assert state(tmp_path) == before
    assert "Permission denied" in capsys.readouterr().err


def test_a_replayed_generation_is_as_careful(tmp_path: Path) -> None:
    root, replay = tmp_path / "shape-sorter", tmp_path / "answers.json"
    plant(root, EVERYTHING_DECLINED)
    before = state(root)
    computed = {"__typed_slug": "shape-sorter", "__author_escaped": "Ada", "__description_escaped": "Sorts shapes."}
    replay.write_text(json.dumps({"cookiecutter": GOOD | computed | EVERYTHING_DECLINED}), encoding="utf-8")
    generate(tmp_path, replay=str(replay), no_input=False, extra_context=None)
    assert state(root).items() >= before.items()


def test_both_hooks_name_the_same_paths(load: Load) -> None:
    before, after = (
        load("pre_gen_project.py", **EVERYTHING_DECLINED),
        load("post_gen_project.py", **EVERYTHING_DECLINED),
    )
    assert before.left_out(before.ANSWERS) == after.left_out(after.ANSWERS)
    assert (before.SET_ASIDE, before.NOTICE) == (after.SET_ASIDE, after.NOTICE)


def test_each_file_that_is_kept_of_a_larger_scope_is_listed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = generate(tmp_path, scope="complete")
    capfd.readouterr()
    generate(tmp_path, scope="essential")
    kept = {name for name in left_out({"scope": "essential"}) if (root / name).exists()}
    assert "src/shape_sorter/training/callbacks/performance.py" in kept
    assert kept <= {*capfd.readouterr().out.split()}
