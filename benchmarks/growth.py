"""What grows with the data: ``uv run python -m benchmarks.growth`` writes the second table of the README."""

import re
import sys
from typing import Any

from rich.progress import track

from .__main__ import README, machine
from .projects import figures, project

COUNTS = (1_000, 10_000, 100_000)
WORKERS = (1, 2, 4)
LAYOUTS = (
    ("classification", "folders", "class folders"),
    ("detection", "coco", "COCO, boxes"),
    ("detection", "folders", "YOLO"),
    ("segmentation", "coco", "COCO, outlines"),
    ("segmentation", "folders", "images and masks"),
)
BEGIN, END = "<!-- growth -->", "<!-- end of growth -->"


def line(layout: str, count: int, found: dict[str, Any]) -> str:
    """A row of the table."""
    cells = [
        layout, f"{count:,}".replace(",", " "), f"{found['listing']:.3g} s", f"{found['found']:.3g} s",
        f"{found['megabytes']:.0f} MB", f"{1e6 * found['megabytes'] / count:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure each layout at each size, and the loader at each number of workers."""
    measured = [(task, kind, name, count) for task, kind, name in LAYOUTS for count in COUNTS]
    lines = ["| layout | images | floor | found and checked | memory | bytes an image |", "|---|---|---|---|---|---|"]
    for task, kind, name, count in track(measured, "Sizes"):
        lines.append(line(name, count, figures(project(task), "growth.py", kind, str(count), "0")))
    lines += ["", "| workers | images | images/s of the loader | memory of each worker |", "|---|---|---|---|"]
    for workers in track(WORKERS, "Workers"):
        for count in COUNTS[1:]:
            found = figures(project("classification"), "growth.py", "folders", str(count), str(workers))
            shown = f"{count:,}".replace(",", " ")
            lines.append(f"| {workers} | {shown} | {found['rate']:.0f} | {found['worker']:.0f} MB |")
    told = "\n".join(lines)
    text = README.read_text(encoding="utf-8")
    inside = f"{BEGIN}\n\n{told}\n\n{machine()}\n\n{END}"
    README.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: inside, text, flags=re.DOTALL), encoding="utf-8")
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
