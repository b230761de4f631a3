"""Projects to measure: generated, installed, and asked for numbers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORK = ROOT / "benchmarks" / ".work"
INSIDE = ROOT / "benchmarks" / "inside"
DROPPED = ("WANDB_", "TRAIN_", "PYTEST_", "UV_INTERNAL_", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")


def environ(**more: str) -> dict[str, str]:
    """This environment without what belongs to others, and with bytecode."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return kept | {"UV_COMPILE_BYTECODE": "1"} | more


@cache
def project(task: str, *, wandb: bool = False) -> Path:
    """A project in its environment; made once."""
    folder = WORK / f"{task}{'-wandb' if wandb else ''}"
    answers = [f"task={task}", f"use_wandb={wandb}"]
    template = [str(Path(sys.executable).with_name("cookiecutter")), str(ROOT), "--no-input"]
    words = [*template, "--overwrite-if-exists", "--output-dir", str(folder), *answers]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    made = folder / "shape-sorter"
    subprocess.run(["uv", "sync", "--quiet"], check=True, cwd=made, env=environ())
    return made


def command(folder: Path, name: str) -> str:
    """A command of a project's environment."""
    return str(folder / ".venv" / "bin" / name)


def seconds(words: Sequence[str], *, cwd: Path = WORK, codes: Sequence[int] = (0,)) -> float:
    """How long a command takes, which must end with one of the codes."""
    began = time.perf_counter()
    done = subprocess.run(words, cwd=cwd, env=environ(), capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return took


def figures(folder: Path, script: str, *words: str, **more: str) -> dict[str, Any]:
    """What a script of ``inside/`` prints in a project's environment: JSON in its last line."""
    done = subprocess.run(
        [command(folder, "python"), str(INSIDE / script), *words],
        cwd=folder,
        env=environ(**more),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
