"""Paste the command line of each refusal into a shell and check the project: ``python tools/pasted_lines.py 144``."""

import argparse
import ast
import os
import random
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cookiecutter.cli import main as cookiecutter
from random_answers import ROOT, TEXTS, Answers, faults, literal, random_answers

FLAGS = ["-f", "-fs", "-s", "--skip-if-file-exists", "-v", "--default-config", "--keep-project-on-failure"]


def shell(line: str, folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, as if it were pasted there."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {"UV_CACHE_DIR": str(Path.home() / ".cache" / "uv")} | os.environ  # HOME is another one
    environ |= {"PATH": path, "TMPDIR": str(home), "HOME": str(home)}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environ, capture_output=True, text=True, check=False, encoding="utf-8"
    )


def refused_words(source: random.Random) -> tuple[list[str], Answers, str]:
    """The words after the program of a command that is refused, its answers, and its folder for projects."""
    answers = random_answers(source, refused=0)
    answers |= {key: random_answers(source, refused=1)[key] for key in source.sample(TEXTS, k=source.randint(1, 6))}
    output = source.choice([".", "out", "an 'own' folder/$x"])
    words = [str(ROOT), "--no-input", source.choice(["-o", "--output-dir"]), output]
    words += source.sample(FLAGS, k=source.randint(0, 2))
    words += (f"{key}={literal(value) if key in TEXTS else value}" for key, value in answers.items())
    return words, answers, output


def given(words: list[str]) -> tuple[dict[str, Any], Answers]:
    """The options among the words of a command, and its text answers."""
    options = cookiecutter.make_context("cookiecutter", [*words]).params
    pairs = options.pop("extra_context")
    texts = {key: ast.literal_eval(pairs[key][3:-3]) if pairs[key].startswith("{{ ") else pairs[key] for key in TEXTS}
    return options, texts


def check(source: random.Random, folder: Path, program: str = "cookiecutter") -> list[str]:
    """Have a command refused in an empty folder and paste the line that is printed; returns what is wrong."""
    work = folder / "work"
    work.mkdir()
    words, answers, output = refused_words(source)
    refusal = shell(f"{program} {shlex.join(words)}", work, folder)
    lines = [line for line in refusal.stderr.splitlines() if line.startswith(program)]
    if refusal.returncode != 1 or len(lines) != 1 or not lines[0].isascii():
        return [shlex.join(words), refusal.stdout, refusal.stderr]
    left = [] if "--keep-project-on-failure" in words else [*(work / output).iterdir()]
    pasted = shell(lines[0], work, folder)
    projects = [path.parent for path in (work / output).glob("*/README.md")]
    if pasted.returncode != 0 or len(projects) != 1:
        return [shlex.join(words), lines[0], pasted.stdout, pasted.stderr]
    options, texts = given(shlex.split(lines[0].removeprefix(program)))
    wrong = [f"{path} is left" for path in left]
    wrong += [f"{name} is lost" for name, value in given(words)[0].items() if value and options[name] != value]
    refused = {key for key in TEXTS if f"\n  {key} = " in refusal.stderr}
    wrong += [f"{key} is changed" for key in TEXTS if (texts[key] == answers[key]) is (key in refused)]
    return [*wrong, *faults(projects[0], answers | texts)]


def main() -> int:
    """Count the pasted lines that are accepted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--program", default="cookiecutter", help="'uvx cookiecutter@2.7.1', for example")
    options = parser.parse_args()
    accepted = 0
    for seed in range(options.count):
        with tempfile.TemporaryDirectory() as folder:
            wrong = check(random.Random(seed), Path(folder), options.program)
        accepted += not wrong
        if wrong:
            print(seed, *wrong, sep="\n    ", flush=True)
    print(f"{options.count} refusals, {accepted} pasted lines accepted, with the answers as they were given")
    return int(accepted != options.count)


if __name__ == "__main__":
    sys.exit(main())
