"""A run in Markdown, for the summary of a job: ``python -m <package>.tracking.summary``."""

import json
import sys
from pathlib import Path

from ..run.folder import Run
from .pending import LINK


def markdown(run: Run) -> str:
    """The link of a run and a table of its test metrics."""
    link = run.folder / LINK
    where = f"[{run.id}]({link.read_text().strip()})" if link.is_file() else f"{run.id} (offline)"
    lines = [f"### {where}", ""]
    if not run.results.is_file():
        return "\n".join([*lines, "The training has not ended: there are no test metrics."])
    metrics = json.loads(run.results.read_text(encoding="utf-8"))
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    lines += ["| metric | value |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value:.4g} |" for name, value in numbers.items())])


def newest(runs: Path) -> Run:
    """The run that began last."""
    found = [path.parent for path in runs.glob("*/config.yaml")]
    if not found:
        sys.exit(f"There is no run in {runs}/.")
    return Run(max(found, key=lambda folder: (folder / "config.yaml").stat().st_mtime))


if __name__ == "__main__":
    print(markdown(newest(Path("runs"))))
