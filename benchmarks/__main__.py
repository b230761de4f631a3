"""Measure all rows, those whose names hold a word, or those of a GPU.

``uv run python -m benchmarks [word ...]``, ``uv run python -m benchmarks gpu``
"""

import json
import platform
import re
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from . import gpu
from .pairs import Result
from .projects import ROOT, WORK, command, project
from .rows import rows

README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end of the table -->"
PACKAGES = ("torch", "torchvision", "lightning", "timm", "hydra-core")


HEAD = "| row | ours | floor or peer | | ratio | target | |\n|---|---|---|---|---|---|---|"


def line(result: Result) -> str:
    """A row of the table, as Markdown."""
    row = result.row
    ours, floor = (f"{statistics.median(taken):.3g} {row.unit}" for taken in (result.ours, result.floor))
    low, high = result.spread
    ratio = f"{result.ratio:.3f} ({low:.3f} to {high:.3f}, n={len(result.ours)})"
    verdict = "met" if result.met else "**missed**"
    return f"| {row.name} | {ours} | {floor} | {row.floor} | {ratio} | {row.aim} | {verdict} |"


def table(results: list[Result], earlier: str = "") -> str:
    """The results, and what an earlier table says of the other rows."""
    lines = dict.fromkeys((row.name for row in rows()), "")
    lines |= {told.split(" | ")[0].removeprefix("| "): told for told in earlier.splitlines() if told.startswith("| ")}
    lines |= {result.row.name: line(result) for result in results}
    return "\n".join([HEAD, *(lines[row.name] for row in rows() if lines[row.name])])


def machine() -> str:
    """Where it was measured, with what, and when."""
    python = command(project("classification"), "python")
    words = f"from importlib.metadata import version; print(*map(version, {PACKAGES}))"
    versions = subprocess.run([python, "-c", words], check=True, capture_output=True, text=True).stdout.split()
    known = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    models = {line.split(":")[1].strip() for line in known.splitlines() if line.startswith("model name")}
    cores = known.count("processor\t") or "?"
    packages = ", ".join(f"{name} {one}" for name, one in zip(PACKAGES, versions, strict=True))
    where = f"{cores} cores of {', '.join(models) or platform.processor()}"
    return f"{date.today():%Y-%m-%d}, {where}, Python {platform.python_version()}, {packages}."


def main(words: list[str]) -> None:
    """Measure, print the table, and keep it: as JSON, and in the README."""
    if words == ["gpu"]:
        gpu.main(machine)
        return
    WORK.mkdir(exist_ok=True)
    chosen = [row for row in rows() if not words or any(word in row.name for word in words)]
    if not chosen:
        sys.exit(f"No row's name holds {' or '.join(words)}. These are: {', '.join(row.name for row in rows())}")
    results: list[Result] = []
    for row in track(chosen, "Measuring"):
        results.append(Result(row, *row.measure()))
        keep(results)  # as it goes: what is measured stays if somebody breaks off
    Console().print(table(results), markup=False, soft_wrap=True)


def keep(results: list[Result]) -> None:
    """Write what there is, as JSON and into the README."""
    found: list[dict[str, Any]] = [
        {"row": one.row.name, "floor": one.row.floor, "unit": one.row.unit, "ours": one.ours, "peer": one.floor,
         "ratio": one.ratio, "target": one.row.aim, "met": one.met}
        for one in results
    ]  # fmt: skip
    (WORK / "results.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    before, earlier, after = re.split(f"{BEGIN}|{END}", text)
    told = f"{table(results, earlier)}\n\n{machine()}"
    README.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
