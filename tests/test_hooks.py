"""The hooks, rendered as cookiecutter does it, loaded and called."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OPTIONS, ROOT, TEMPLATE, Bake, Load, Project, guest
from cookiecutter import __version__ as cookiecutter_version
from cookiecutter.environment import StrictEnvironment
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from matrix import declinable
from test_matrix import imported_modules


@pytest.fixture
def problems(load: Load) -> Callable[..., dict[str, tuple[str, str]]]:
    """Reason and suggestion for each answer that is refused."""

    def found(**answers: Any) -> dict[str, tuple[str, str]]:
        module = load("pre_gen_project.py", **answers)
        return {key: (reason, better) for key, _, reason, better in module.find_problems(module.ANSWERS)}

    return found


def test_good_answers_are_accepted(problems: Callable[..., Any]) -> None:
    assert problems() == {}


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("project_slug", "Shape Sorter", "no portable folder name"),
        ("project_slug", "a/b", "no portable folder name"),
        ("project_slug", "../up", "no portable folder name"),
        ("project_slug", "", "no portable folder name"),
        ("project_slug", "formen-ü", "no portable folder name"),
        ("project_slug", "ends-with-", "no portable folder name"),
        *(("project_slug", name, "no portable folder name") for name in ("a..b", "a___b", "a.-b", "a_-_b")),
        ("project_slug", "x" * 65, "longer than 64"),
        ("project_slug", "con", "device name"),
        ("project_slug", "nul.txt", "device name"),
        ("project_slug", "torch", "depends on"),
        ("project_slug", "pytorch-lightning", "depends on"),
        ("project_slug", "packaging", "depends on"),
        ("project_slug", "pyyaml", "depends on"),
        ("package_name", "triton", "depends on"),
        ("package_name", "my-package", "no importable identifier"),
        ("package_name", "9lives", "no importable identifier"),
        ("package_name", "9" * 50, "no importable identifier"),
        ("package_name", "a.b", "no importable identifier"),
        ("package_name", "größe", "no importable identifier"),
        ("package_name", "", "no importable identifier"),
        ("package_name", "class", "keyword"),
        ("package_name", "None", "keyword"),
        ("package_name", "_hidden", "private"),
        ("package_name", "x" * 41, "longer than 40"),
        ("package_name", "json", "standard library"),
        ("package_name", "torch", "depends on"),
        ("package_name", "wandb", "depends on"),
        ("package_name", "PIL", "depends on"),
        ("package_name", "tests", "of the project itself"),
        ("package_name", "train", "of the project itself"),
        ("package_name", "small", "of the project itself"),
        ("package_name", "aux", "device name"),
        ("project_name", "two\nlines", "U+000A"),
        ("project_name", "   ", "is empty"),
        ("description", "a\x00b", "U+0000"),
        ("description", "a\tb", "U+0009"),
        ("description", "a\x1b[31mb", "U+001B"),
        ("description", "a\u2028b", "U+2028"),
        ("description", "a\u202eb", "U+202E"),
        ("description", "x" * 201, "longer than 200"),
        ("author_name", "a\rb", "U+000D"),
        ("author_email", "nobody", "name@host.domain"),
        ("author_email", "a@b", "name@host.domain"),
        ("author_email", "a b@c.de", "name@host.domain"),
        *(("author_email", f"{name}@c.de", "name@host.domain") for name in (".a", "a.", "a..b")),
        ("author_email", "a@b.de\n", "name@host.domain"),
    ],
)
def test_a_bad_answer_is_refused_with_one_that_would_do(
    problems: Callable[..., dict[str, tuple[str, str]]], key: str, value: str, reason: str
) -> None:
    found = problems(**{key: value})
    assert list(found) == [key]
    assert reason in found[key][0]
    assert problems(**{key: found[key][1]}) == {}, "what is suggested would be refused, too"


@pytest.mark.parametrize("task", OPTIONS["task"])
def test_no_package_name_hides_a_module_that_the_project_imports(
    bake: Bake, problems: Callable[..., Any], task: str
) -> None:
    project = bake(use_wandb=True, task=task)
    modules = imported_modules(project.package) | imported_modules(project.folder / "tests")
    modules = {name for name in modules if not name.startswith("test_")} - {project.package.name}
    assert {name for name in modules if not problems(package_name=name)} == set()


@pytest.mark.parametrize(
    "text",
    ['Jo "Q" Smith', "back\\slash", "{{ 7*7 }}", "{% raw", "#}", "${x}", "🦊 fox", "שלום עולם", "x" * 200, "a'b`c$(d)"],
)
def test_any_printable_text_is_accepted(problems: Callable[..., Any], text: str) -> None:
    assert problems(project_name=text, description=text, author_name=text) == {}


def test_all_problems_are_told_together_with_a_line_to_paste(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # an empty folder, as for a new project
    monkeypatch.delenv("UV", raising=False)
    module = load("pre_gen_project.py", package_name="class", author_email="x", description="it's {{ 7*7 }} 🦊")
    assert module.main() == 1
    said = capsys.readouterr().err
    assert said.isascii()
    assert "2 answers cannot be used" in said
    assert "package_name = 'class'" in said
    assert "would do: 'cv_class'" in said
    (line,) = [line for line in said.splitlines() if line.startswith("cookiecutter ")]
    words = shlex.split(line)
    assert words[:3] == ["cookiecutter", "gh:someone/cookiecutter-lightning-cv", "--no-input"]
    again = dict(word.split("=", 1) for word in words[3:])
    assert again.keys() == OPTIONS.keys()
    assert again["package_name"] == "cv_class"
    assert again["author_email"] == "you@example.com"
    assert again["author_name"] == "Ada"
    assert StrictEnvironment(context={}).from_string(again["description"]).render() == "it's {{ 7*7 }} 🦊"


def test_the_line_to_paste_keeps_what_is_known_where_the_command_line_cannot_be_read(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "README.md").touch()  # so that the generation is one with -f
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", "/usr/bin/uv")
    monkeypatch.setenv("PWD", str(tmp_path))
    hook = load("pre_gen_project.py", _checkout="v1", _output_dir="/my projects")
    words = shlex.split(hook.command(hook.ANSWERS, {}))
    assert words[:2] == ["uvx", f"cookiecutter@{cookiecutter_version}"]
    assert words[3:9] == ["--no-input", "-f", "--checkout", "v1", "--output-dir", "/my projects"]


def test_cruft_is_given_the_answers_to_replace(load: Load) -> None:
    hook = load("pre_gen_project.py", _commit="0123")
    words = shlex.split(hook.command(hook.ANSWERS, {"package_name": "cv_class"}))
    assert words[0] == "cruft"
    assert json.loads(words[-1]) == {"package_name": "cv_class"}


@pytest.mark.parametrize("slug", ["a/b", "a/b/c", "../up", "a\\b", "x" * 300, "..", ""])
def test_nothing_is_left_of_a_folder_name_that_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], slug: str
) -> None:
    with pytest.raises(FailedHookException):
        cookiecutter(str(ROOT), no_input=True, output_dir=str(tmp_path / "out"), extra_context={"project_slug": slug})
    assert [*tmp_path.rglob("*")] == [tmp_path / "out"]
    said = capfd.readouterr().err
    assert f"project_slug = {slug!a}"[:60] in said
    assert "is no portable folder name" in said or "is longer than 64" in said


def test_an_old_cookiecutter_is_refused(
    load: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookiecutter.__version__", "2.6.0")
    assert load("pre_gen_project.py").main() == 1
    assert "2.6.0 is too old" in capsys.readouterr().err


def test_nothing_is_left_after_a_refusal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FailedHookException):
        cookiecutter(str(ROOT), no_input=True, output_dir=str(tmp_path), extra_context={"package_name": "class"})
    assert list(tmp_path.iterdir()) == []
    assert "is a keyword of Python" in capfd.readouterr().err


def test_the_manifest_names_only_what_exists(tmp_path: Path) -> None:
    manifest = TEMPLATE["_left_out"]
    assert {*manifest["task"]} == {*OPTIONS["task"]}
    assert {option for options in manifest for option in options.split()} == {"task", *declinable()}
    for task in OPTIONS["task"]:
        project = unstripped(tmp_path / task, task=task)
        for path in (path for paths in manifest.values() for names in paths.values() for path in names):
            assert (project.folder / path.format(task=task, package_name="shape_sorter")).exists(), path


def test_stripping_twice_or_after_a_path_is_gone_is_no_error(load: Load, bake: Bake) -> None:
    project = bake(fresh=True, use_wandb=True)
    module = load("post_gen_project.py", **project.answers)
    nothing = dict(project.answers) | declinable()
    module.strip(project.folder, nothing)
    module.strip(project.folder, nothing)
    assert not (project.folder / "LICENSE").exists()
    assert not (project.folder / ".github").exists()


@pytest.fixture
def post_gen(bake: Bake, tmp_path: Path) -> tuple[Project, Path]:
    """An unstripped project, and the rendered hook as a file."""
    project = bake(fresh=True, use_wandb=True)
    context = {"cookiecutter": dict(project.answers) | {"use_wandb": False}}
    environment = StrictEnvironment(context=context, keep_trailing_newline=True, **TEMPLATE["_jinja2_env_vars"])
    hook = tmp_path / "hook.py"
    source = (ROOT / "hooks" / "post_gen_project.py").read_text(encoding="utf-8")
    hook.write_text(environment.from_string(source).render(**context), encoding="utf-8")
    return project, hook


def next_commands(project: Project, hook: Path, **environ: str) -> list[str]:
    """Run a rendered post_gen in a project; returns the commands that it prints."""
    done = subprocess.run(
        [sys.executable, hook],
        cwd=project.folder,
        env={"PYTHONIOENCODING": "ascii", "SYSTEMROOT": os.environ.get("SYSTEMROOT", ""), **environ},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,  # should it wait for an answer
    )
    return re.findall(r"^ {4}(\S.*?)(?:  +#.*)?$", done.stdout, re.MULTILINE)


def test_post_gen_needs_no_path_and_prints_ascii(post_gen: tuple[Project, Path]) -> None:
    project, hook = post_gen
    commands = next_commands(project, hook)
    assert not (project.folder / "sweep.yaml").exists()
    assert commands == [f"cd {project.folder.resolve()}", "uv run train", "uv run pytest"]


def test_the_first_command_leads_from_the_users_folder_to_the_project(
    post_gen: tuple[Project, Path], tmp_path: Path
) -> None:
    project, hook = post_gen
    folder = tmp_path / "my projects" / "größe"
    folder.mkdir(parents=True)
    project = Project(project.folder.rename(folder / "shape-sorter"), project.answers)
    for shell, encoding in ((tmp_path, "utf-8"), (folder, "ascii"), (folder / "shape-sorter" / "docs", "utf-8")):
        cd = next_commands(project, hook, PWD=str(shell), PYTHONIOENCODING=encoding)[0]
        done = subprocess.run(["sh", "-c", f"{cd} && pwd"], cwd=shell, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == str(project.folder.resolve())
    assert next_commands(project, hook, PWD=str(project.folder))[0] == "uv run train"


def test_with_tracking_the_next_commands_name_the_login(load: Load, tmp_path: Path) -> None:
    commands = {
        answer: [command for command, _ in load("post_gen_project.py").next_commands(tmp_path, {"use_wandb": answer})]
        for answer in (True, False)
    }
    assert commands[True][1:] == ["uv run wandb login", "uv run train", "uv run pytest"]
    assert not any("wandb" in command for command in commands[False])


def test_post_gen_starts_no_process_and_opens_no_connection(post_gen: tuple[Project, Path]) -> None:
    project, hook = post_gen
    watch = (
        "import runpy, sys\n"
        "def watch(event, arguments):\n"
        "    assert not event.startswith(('socket', 'subprocess', 'os.system', 'os.exec')), event\n"
        "sys.addaudithook(watch)\n"
        "try:\n    runpy.run_path(sys.argv[1], run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
    )
    subprocess.run([sys.executable, "-c", watch, hook], cwd=project.folder, check=True, capture_output=True)


def unstripped(folder: Path, **answers: Any) -> Project:
    """Generate a project with ``--accept-hooks no``."""
    made = cookiecutter(str(ROOT), no_input=True, output_dir=str(folder), accept_hooks=False, extra_context=answers)
    return Project(Path(made), {"package_name": "shape_sorter", **answers})


def test_without_hooks_the_project_compiles_and_says_that_nothing_was_removed(tmp_path: Path) -> None:
    project = unstripped(tmp_path)
    assert (project.folder / "sweep.yaml").exists()
    assert "Nothing was removed" in project.text("HOOKS_DID_NOT_RUN.md")
    subprocess.run([sys.executable, "-m", "compileall", "-q", project.package], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("host", "scope"), [("detection", "essential"), ("stripped", "complete")])
def test_without_hooks_the_project_trains(
    request: pytest.FixtureRequest, tmp_path: Path, host: str, scope: str
) -> None:
    environment: Project = request.getfixturevalue(host)
    project = guest(unstripped(tmp_path, scope=scope, task=environment.answers["task"]), environment)
    done = project.run("uv", "run", "--no-sync", "train", "debug=fast", "data.train_images=100", "data.val_images=20")
    assert done.returncode == 0, done.stderr
    assert [*(project.folder / "runs").glob("*/report.html")]
