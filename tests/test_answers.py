"""Answers are data: whatever can be printed survives, as typed, in every file that shows it."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import OPTIONS, ROOT, Bake
from cookiecutter.cli import main

sys.path.insert(0, str(ROOT / "tools"))

from pasted_lines import check as check_pasted_line
from pasted_lines import shell
from random_answers import check, faults, generate, random_answers

TITLES = ("project_name", "description", "author_name")  # the answers that may be any text
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


@pytest.mark.parametrize("text", NASTY)
def test_nasty_answers_survive(tmp_path: Path, text: str) -> None:
    answers = random_answers(random.Random(0), refused=0) | dict.fromkeys(TITLES, text)
    project = generate(answers, tmp_path)
    assert project
    assert not [*faults(project, answers)]


def prompted(folder: Path, *words: str, answers: list[str]) -> str:
    """Answer the prompts in a terminal; returns what it shows."""
    words = (str(ROOT), "-o", str(folder), "--default-config", *words)
    done = CliRunner(env={"HOME": str(folder / "home")}).invoke(main, words, input="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    return str(done.output)


def test_answers_that_are_typed_at_the_prompts_survive(tmp_path: Path) -> None:
    text = 'A {{ 7*7 }} {% "quoted" \\ ${x} 🦊'
    typed = [text, "shape-sorter", "shape_sorter", "1", "1", text, text, "a@b.org", "n", "1", "y", "1", "1", "1"]
    prompted(tmp_path, answers=typed)
    answers = {key: default[0] if isinstance(default, list) else default for key, default in OPTIONS.items()}
    answers |= dict.fromkeys(TITLES, text) | {"project_slug": "shape-sorter", "package_name": "shape_sorter"}
    assert not [*faults(tmp_path / "shape-sorter", answers | {"author_email": "a@b.org"})]


def test_a_choice_is_answered_by_its_number_and_given_by_name_it_becomes_the_first(tmp_path: Path) -> None:
    shown = prompted(tmp_path, "task=detection", answers=["", "", "", "detection", "1", *[""] * 10])
    assert "1 - Object detection" in shown
    assert "Please select one of the available options" in shown  # after the name
    assert (tmp_path / "shape-sorter" / "src" / "shape_sorter" / "detection").is_dir()


def test_names_that_need_no_latin_letters_make_a_project(bake: Bake) -> None:
    assert bake(project_name="🦊🦊").answers["project_slug"] == "vision-project"
    assert bake(project_name="3D shapes").answers["package_name"] == "cv_3d_shapes"
    assert len(bake(project_name="x" * 200).answers["package_name"]) <= 40


@pytest.mark.parametrize("scope", ["complete", "essential"])
@pytest.mark.parametrize("name", ["x", "p" * 8, "p" * 40])
def test_the_length_of_the_name_does_not_change_the_format(bake: Bake, name: str, scope: str) -> None:
    project = bake(package_name=name, scope=scope, use_wandb=True)
    done = project.run("ruff", "format", "--no-cache", "--diff", ".")
    assert done.returncode == 0, done.stdout
    done = project.run("ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout


def seeds(count: int, *, fast: int) -> list[Any]:
    """So many seeds, of which all but the first few are slow tests."""
    return [pytest.param(seed, marks=[pytest.mark.slow] if seed >= fast else []) for seed in range(count)]


@pytest.mark.parametrize("seed", seeds(200, fast=4))
def test_random_answers_are_refused_or_stand_exactly_in_files_that_parse(tmp_path: Path, seed: int) -> None:
    outcome, wrong = check(random_answers(random.Random(seed)), tmp_path)
    assert outcome in {"accepted", "refused"}, wrong


@pytest.mark.parametrize("seed", seeds(24, fast=2))
def test_the_line_of_a_refusal_is_pasted_into_a_shell_and_accepted(tmp_path: Path, seed: int) -> None:
    assert not check_pasted_line(random.Random(seed), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", ["uvx cookiecutter@2.7.1", "uv tool run cookiecutter@2.7.1", "python -m cookiecutter"]
)
def test_the_line_of_a_refusal_starts_the_same_program(tmp_path: Path, program: str) -> None:
    assert not check_pasted_line(random.Random(0), tmp_path, program)


@pytest.mark.slow
def test_the_line_of_a_refusal_names_the_repository_and_its_checkout(tmp_path: Path) -> None:
    words = f"git+{ROOT.as_uri()} --checkout HEAD --no-input -o 'an own' project_slug='A B'"
    refusal = shell(f"cookiecutter {words}", tmp_path, tmp_path)
    (line,) = (line for line in refusal.stderr.splitlines() if line.startswith("cookiecutter "))
    assert " --checkout HEAD " in line
    pasted = shell(line, tmp_path, tmp_path)
    assert pasted.returncode == 0, pasted.stderr
    assert (tmp_path / "an own" / "a-b" / "pyproject.toml").is_file()


def test_the_checks_of_random_answers_find_a_planted_fault(tmp_path: Path) -> None:
    answers = random_answers(random.Random(0), refused=0)
    project = generate(answers, tmp_path)
    assert project
    for key in (*TITLES, "project_slug", "author_email", "python_version", "license"):
        assert [*faults(project, answers | {key: "other"})], key
    (project / "tests" / "conftest.py").write_text("def", encoding="utf-8")
    assert any(fault.startswith("tests/conftest.py: ") for fault in faults(project, answers))
