"""Print how large the generated projects are, beside the sizes that they should have.

    uv run python tools/sizes.py                # this template
    uv run python tools/sizes.py <folder>       # another checkout of it, for a comparison

One row for each task and scope, with and without Weights & Biases. Lines are those of Python files,
with docstrings and blank lines; modules include ``__init__.py``; entries are the modules and folders
directly in the package, without ``__init__.py`` and the marker ``py.typed``.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
AIMS = {  # lines of src/ without Weights & Biases
    "essential": {"classification": 1800, "segmentation": 2300, "detection": 2600},
    "complete": {"classification": 4500, "segmentation": 5000, "detection": 5300},
}
WANDB_AIMS = {"essential": 450, "complete": 1300}  # lines of src/ that Weights & Biases may add
HEADER = ["task", "scope", "W&B", "src lines", "aim", "modules", "entries", "test lines", "tests / src"]


@dataclass(frozen=True)
class Size:
    """The size of a generated project."""

    lines: int
    modules: int
    entries: int
    test_lines: int


def measure(project: Path) -> Size:
    """Measure a generated project that nothing has run in."""
    modules = [*(project / "src").rglob("*.py")]
    (package,) = (project / "src").iterdir()
    entries = [path for path in package.iterdir() if path.name not in {"__init__.py", "py.typed"}]
    return Size(
        lines=count_lines(modules),
        modules=len(modules),
        entries=len(entries),
        test_lines=count_lines([*(project / "tests").rglob("*.py")]),
    )


def count_lines(paths: Sequence[Path]) -> int:
    """Count the lines of text files."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def find_aim(task: str, scope: str, *, use_wandb: bool) -> int:
    """Return the number of lines that ``src/`` should have."""
    return AIMS[scope][task] + (WANDB_AIMS[scope] if use_wandb else 0)


def generate(template: Path, folder: Path, **answers: Any) -> Path:
    """Generate a project below ``folder`` and return its path."""
    with silent_hooks():
        return Path(cookiecutter(str(template), no_input=True, output_dir=str(folder), extra_context=answers))


@contextmanager
def silent_hooks() -> Iterator[None]:
    """Discard what the hooks of the template print: they are processes that inherit this one's output."""
    sys.stdout.flush()
    output = os.dup(1)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(output, 1)
            os.close(output)


def rows(template: Path) -> Iterator[list[str]]:
    """Generate a project for each row of the table; a template without the prompt ``scope`` has complete ones only."""
    prompts = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    for scope in prompts.get("scope", ["complete"]):
        for task in prompts["task"]:
            for use_wandb in (False, True):
                answers = {"task": task, "use_wandb": use_wandb} | ({"scope": scope} if "scope" in prompts else {})
                with tempfile.TemporaryDirectory() as folder:
                    size = measure(generate(template, Path(folder), **answers))
                aim = find_aim(task, scope, use_wandb=use_wandb)
                yield [
                    *(task, scope, "yes" if use_wandb else "no", f"{size.lines:,}", f"{aim:,}", str(size.modules)),
                    *(str(size.entries), f"{size.test_lines:,}", f"{size.test_lines / size.lines:.2f}"),
                ]


def main(template: Path = ROOT) -> None:
    """Print the table as Markdown."""
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * 3 + "---:|" * (len(HEADER) - 3))
    for row in rows(template):
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
