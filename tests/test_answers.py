"""Answers are data: whatever can be printed survives, as typed, in every file that shows it."""

import ast
import json
import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import OPTIONS, ROOT, Bake, Project
from cookiecutter.cli import main
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NASTY = [
    'Jo "Q" Smith',
    "O'Neil's",
    "back\\slash \\n \\u0041 \\",
    "{{ 7*7 }}",
    "{% raw %} {%",
    "{# note #} #}",
    "${x} $HOME ${oc.env:HOME}",
    "`code` *stars* _lines_ [link](x) <b> & # | ~~",
    "# ~ if cookiecutter.use_wandb",
    "<!--% if %--> <!--# #-->",
    "🦊🏳️‍🌈 fox",
    "שלום עולם",
    "- 1. list: [a, b] # not a comment",
    "1. first",
    "    indented",
    "'''\"\"\"",
    "x" * 200,
]


def typed(folder: Path, **answers: Any) -> Project:
    """Generate from answers as typed at the prompts: cookiecutter renders those of the command line as Jinja."""
    replay = folder / "answers.json"
    defaults = {key: value[0] if isinstance(value, list) else value for key, value in OPTIONS.items()}
    defaults |= {"project_slug": "shape-sorter", "package_name": "shape_sorter"} | answers
    hidden = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    context = defaults | {key: value for key, value in hidden.items() if key.startswith("_") and key != "__prompts__"}
    for key, source in (("__author_escaped", "author_name"), ("__description_escaped", "description")):
        context[key] = str(defaults[source]).replace("\\", "\\\\").replace('"', '\\"')
    replay.write_text(json.dumps({"cookiecutter": context}), encoding="utf-8")
    made = cookiecutter(str(ROOT), replay=str(replay), output_dir=str(folder / "out"))
    return Project(Path(made), defaults)


def assert_shows(project: Project, *, title: str, description: str, author: str) -> None:
    metadata = tomllib.loads(project.text("pyproject.toml"))["project"]
    assert metadata["description"] == description
    assert metadata["authors"][0]["name"] == author
    assert author in project.text("LICENSE")
    lines = project.text("README.md").splitlines()
    assert unescaped(lines[0].removeprefix("# ")) == title.strip()
    assert unescaped(lines[2]) == description.strip()
    for path in project.files():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            ast.parse(text)
        elif path.suffix in {".yaml", ".yml"}:
            yaml.safe_load(text)


def unescaped(text: str) -> str:
    """What Markdown shows for ``text``, where every special character must have been escaped."""
    assert not re.match(r"[-+=]|\d+[.)]", text), f"{text} would begin a list or underline a title"
    shown, rest = "", text
    while rest:
        if rest[0] == "\\" and len(rest) > 1 and unicodedata.category(rest[1])[0] in "PS":
            shown, rest = shown + rest[1], rest[2:]
        else:
            assert rest[0] not in "`*_[]<>#|~", f"{rest[0]} stands unescaped in {text}"
            shown, rest = shown + rest[0], rest[1:]
    return shown


@pytest.mark.parametrize("text", NASTY)
def test_nasty_answers_survive(tmp_path: Path, text: str) -> None:
    project = typed(tmp_path, project_name=text, description=text, author_name=text)
    assert_shows(project, title=text, description=text, author=text)


def test_answers_that_are_typed_at_the_prompts_survive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    text = 'A {{ 7*7 }} {% "quoted" \\ ${x} 🦊'
    answers = [text, "shape-sorter", "shape_sorter", "1", "1", text, text, "a@b.org", "n", "1", "y", "1", "1", "1"]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(main, [str(ROOT), "-o", str(tmp_path / "out")], input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    project = Project(tmp_path / "out" / "shape-sorter", {"package_name": "shape_sorter"})
    assert_shows(project, title=text, description=text, author=text)


def test_names_that_need_no_latin_letters_make_a_project(bake: Bake) -> None:
    assert bake(project_name="🦊🦊").answers["project_slug"] == "vision-project"
    assert bake(project_name="3D shapes").answers["package_name"] == "cv_3d_shapes"
    assert len(bake(project_name="x" * 200).answers["package_name"]) <= 40


@pytest.mark.parametrize("name", ["x", "p" * 40])
def test_the_length_of_the_name_does_not_change_the_format(bake: Bake, name: str) -> None:
    project = bake(package_name=name, use_wandb=True)
    done = project.run("ruff", "format", "--no-cache", "--diff", ".")
    assert done.returncode == 0, done.stdout
    done = project.run("ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout


PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"]), min_size=1, max_size=200)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(title=PRINTABLE, description=PRINTABLE, author=PRINTABLE)
def test_two_hundred_random_answers(
    tmp_path_factory: pytest.TempPathFactory, title: str, description: str, author: str
) -> None:
    folder = tmp_path_factory.mktemp("random")
    try:
        project = typed(folder, project_name=title, description=description, author_name=author)
    except FailedHookException:
        assert not list((folder / "out").iterdir()), "something is left after a refusal"
        return
    assert_shows(project, title=title, description=description, author=author)
