"""Generate projects from random answers and check the files of each: ``python tools/random_answers.py 1000``."""

import argparse
import ast
import collections
import json
import logging
import os
import random
import re
import sys
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
TEMPLATE = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))

TEXTS = [key for key, default in TEMPLATE.items() if isinstance(default, str) and not key.startswith("_")]

Answers = dict[str, Any]

PIECES = [
    *("Shapes", "a", "to be", "7", " ", " ", "Größe", "日本語", "שלום", "🦊", "🏳️\u200d🌈", "é", "\xa0"),
    *("'", '"', "'''", '"""', "\\", "\\n", "\\u0041", "`id`", "$HOME", "$(id)", "${oc.env:HOME}", "!!", "!", "%PATH%"),
    *("{{ 7*7 }}", "{{", "}}", "{% raw %}", "{%", "%}", "{# note #}", "{#", "# ~ if x", "# ~", "<!--% if x %-->"),
    *("<!--%", "%-->", "<!--# note #-->", "<!--#", "#-->", "&amp;", "<b>", "&&", ";", "|", "*", "~", "@", "=", ": "),
    *("- ", "1. ", "# ", "> ", "    ", "[x](y)", "[x]", "null", "yes", "~~", "---", ",", ".", "/", "-", "_"),
]
REFUSED_PIECES = ["\n", "\r", "\t", "\x1b[31m", "\x7f", "\u2028", "\u202e", "\ue000", "x" * 201]
SLUGS = [
    "shape-sorter",
    "a",
    "x" * 64,
    "a.b_c-d",
    "123",
    "1e5",
    "0x1f",
    "1.5",
    "null",
    "true",
    "no",
    "on",
    "2026-11-27",
]
REFUSED_SLUGS = [
    "a/b",
    "a/b/c",
    "../up",
    "a\\b",
    "",
    ".",
    "..",
    ".x",
    "x.",
    "a..b",
    "a___b",
    "a.-b",
    "X",
    "a b",
    "ä",
    "x" * 65,
    "é" * 200,
    "con",
]
PACKAGES = ["shape_sorter", "a", "X", "p" * 40, "null", "yes", "on", "e5", "Y"]
REFUSED_PACKAGES = [
    "",
    "a-b",
    "9a",
    "a.b",
    "a/b",
    "ä",
    "_a",
    "class",
    "True",
    "json",
    "torch",
    "tests",
    "p" * 41,
    "aux",
]
EMAILS = ["ada@example.org", "o'neil@example.org", "a{{b}}@c.de", "{#a@b.c", "$x`y`@a-b.co", "a+b|c&d~e!f%g=h?i@j.k"]
REFUSED_EMAILS = [".a@b.de", "a.@b.de", "a..b@c.de"]
REFUSED_EMAILS += ["", "nobody", "a@b", "a b@c.de", '"a"@b.de', "a\\@b.de", "ä@b.de", "a@b.de\n"]


def random_answers(source: random.Random, refused: float = 0.1) -> Answers:
    """Answer all prompts at random; ``refused`` is the probability that a text answer is made to be refused."""

    def text() -> str:
        pieces = source.choices(PIECES, k=source.randint(1, 12))
        if source.random() < refused:
            pieces.insert(source.randrange(len(pieces) + 1), source.choice(REFUSED_PIECES))
        return "".join(pieces)

    def name(good: list[str], bad: list[str]) -> str:
        return source.choice(bad if source.random() < refused else good)

    answers: Answers = {
        "project_name": text(),
        "project_slug": name(SLUGS, REFUSED_SLUGS),
        "package_name": name(PACKAGES, REFUSED_PACKAGES),
        "description": text(),
        "author_name": text(),
        "author_email": name(EMAILS, REFUSED_EMAILS),
    }
    for key, default in TEMPLATE.items():
        if isinstance(default, bool):
            answers[key] = source.random() < 0.5
        elif isinstance(default, list) and not key.startswith("_"):
            answers[key] = source.choice(default)
    return answers


def literal(text: str) -> str:
    """The Jinja expression for a text: cookiecutter renders answers that do not come from its prompts."""
    return f"{{{{ {text!a} }}}}"


def generate(answers: Answers, folder: Path) -> Path | None:
    """Generate a project in ``folder`` from answers as they are; returns its folder, or None if they are refused."""
    context = {key: literal(value) if key in TEXTS else value for key, value in answers.items()}
    try:
        made = cookiecutter(
            str(ROOT), no_input=True, default_config=True, output_dir=str(folder), extra_context=context
        )
    except FailedHookException:
        return None
    return Path(made)


def unescaped(text: str) -> str:
    """The text that Markdown shows for ``text``; a ValueError if it would show anything but text."""
    if re.match(r"[-+=]|\d+[.)]", text):
        raise ValueError(f"{text!r} begins a list or underlines a title")
    shown, rest = "", text
    while rest:
        if rest[0] == "\\" and len(rest) > 1 and unicodedata.category(rest[1])[0] in "PS":
            shown, rest = shown + rest[1], rest[2:]
        elif rest[0] in "`*_[]<>#|~":
            raise ValueError(f"{rest[0]} is not escaped in {text!r}")
        else:
            shown, rest = shown + rest[0], rest[1:]
    return shown


def parse(path: Path) -> Any:
    """The content of a file in one of the formats that can be parsed, else its text."""
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".py":
            return ast.parse(text)
        case ".yaml" | ".yml":
            return yaml.safe_load(text)
        case ".toml":
            return tomllib.loads(text)
        case ".json":
            return json.loads(text)
    return text


def faults(project: Path, answers: Answers) -> Iterator[str]:
    """Each file that does not parse, and each value that is not exactly the answer."""
    contents: dict[str, Any] = {}
    for path in project.rglob("*"):
        if path.is_file() and path.suffix != ".webp":
            name = path.relative_to(project).as_posix()
            try:
                contents[name] = parse(path)
            except (SyntaxError, ValueError, yaml.YAMLError) as error:
                yield f"{name}: {error}"
    expected = expected_values(contents, project / "src" / answers["package_name"], answers)
    try:
        yield from (f"{name}: {value!r} instead of {right!r}" for name, value, right in expected if value != right)
    except (KeyError, ValueError, TypeError) as error:
        yield f"{type(error).__name__}: {error}"


def expected_values(contents: dict[str, Any], package: Path, answers: Answers) -> Iterator[tuple[str, Any, Any]]:
    """Tuples of a name, a value of the project, and the value that the answers ask for."""
    slug, source = answers["project_slug"], f"src/{answers['package_name']}/"
    complete = answers["scope"] == "complete"
    metadata = contents["pyproject.toml"]["project"]
    yield "name", metadata["name"], slug
    yield "description", metadata["description"], answers["description"]
    yield "author", metadata["authors"], [{"name": answers["author_name"], "email": answers["author_email"]}]
    yield "requires-python", metadata["requires-python"], f">={answers['python_version']},<3.14"
    yield "license", metadata.get("license", "none"), answers["license"]
    yield "command", metadata["scripts"]["train"], f"{answers['package_name']}.cli:train"
    lines = contents["README.md"].splitlines()
    yield "title", unescaped(lines[0].removeprefix("# ")), answers["project_name"].strip()
    yield "first paragraph", unescaped(lines[2]), answers["description"].strip()
    yield "task", [path.name for path in package.iterdir() if path.name in TEMPLATE["task"]], [answers["task"]]
    for name, wanted in (
        ("LICENSE", answers["license"] != "none"),
        (".github/workflows/ci.yml", answers["ci"] == "github"),
        ("compose.yaml", answers["use_docker"]),
        (".devcontainer/devcontainer.json", answers["use_docker"]),
        (source + "configs/tracking/wandb.yaml", answers["use_wandb"]),
        (source + "configs/promote.yaml", answers["use_wandb"] and complete),
        (source + "configs/export.yaml", complete),
    ):
        yield name, name in contents, wanted
    if answers["license"] != "none":
        yield "holder", answers["author_name"] in contents["LICENSE"], True
    if answers["use_docker"]:
        yield "image", contents["compose.yaml"]["services"]["train"]["image"], slug
        yield "container", contents[".devcontainer/devcontainer.json"]["name"], answers["project_name"]
    if answers["use_wandb"]:
        project = contents[source + "configs/tracking/wandb.yaml"]["project"]
        yield "project", project, f"${{oc.env:WANDB_PROJECT,'{slug}'}}"
        for name in ("sweep.yaml", *(("sweeps/grid.yaml", "sweeps/random.yaml") if complete else ())):
            yield name, contents[name]["project"], slug
    if answers["use_wandb"] and complete:
        yield "collection", contents[source + "configs/promote.yaml"]["collection"], slug


def check(answers: Answers, folder: Path) -> tuple[str, list[str]]:
    """Generate a project in an empty folder; returns "accepted", "refused" or "failed", and what is wrong."""
    try:
        project = generate(answers, folder)
        wrong = list(faults(project, answers)) if project else [f"{path} is left" for path in folder.iterdir()]
    except Exception as error:  # noqa: BLE001 whatever a user would see as a traceback
        return "failed", [f"{type(error).__name__}: {error}"]
    return ("failed" if wrong else "accepted" if project else "refused"), wrong


def main() -> int:
    """Count the answers that are accepted, refused and failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; each set of answers has its own")
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # cookiecutter logs a traceback for each refusal
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what the hooks print
    os.dup2(1, 2)
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(options.seed, options.seed + options.count):
        answers = random_answers(random.Random(seed))
        with tempfile.TemporaryDirectory() as folder:
            outcome, wrong = check(answers, Path(folder))
        counts[outcome] += 1
        if wrong:
            print(seed, answers, *wrong, sep="\n    ", file=report, flush=True)
    print(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("accepted", "refused", "failed")), file=report)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
