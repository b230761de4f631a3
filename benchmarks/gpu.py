"""The rows of GPUs, which ``python -m benchmarks gpu`` measures in a single call of under eight minutes."""

import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from rich.progress import track

from .projects import ROOT, WORK, figures, project

README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- gpu -->", "<!-- end of gpu -->"
COLUMNS = (
    "network", "precision", "batch", "by hand", "ours, in memory", "ratio", "loader alone", "ours, from JPEG", "ratio",
    "from the cache", "ratio to in memory", "timm's loop", "memory", "waits in a step",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"
QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
RATES = ("hand", "ours", "alone", "files", "cache", "timm")
STEPS, PAIRS = "20", "3"  # of each figure
RESNET50 = ("model.backbone=resnet50", "data.image_size=224", "loader.batch_size=256")
FCOS = ("model.backbone=resnet50", "model.channels=256", "data.image_size=640", "loader.batch_size=16")
UNET = ("model.architecture=unet", "model.backbone=resnet34", "data.image_size=512", "loader.batch_size=32")
NETWORKS = {
    "ResNet-50, 224 px": ("classification", RESNET50),
    "ResNet-50, 224 px, compiled": ("classification", (*RESNET50, "model.compile=true")),
    "FCOS-ResNet-50, 640 px": ("detection", FCOS),
    "U-Net-ResNet-34, 512 px": ("segmentation", UNET),
}
PRECISIONS = ("bf16-mixed", "16-mixed")


def ratio(ours: Sequence[float], *limits: Sequence[float]) -> str:
    """The median of the ratios of pairs, to the least limit of each pair."""
    pairs = [one / min(others) for one, *others in zip(ours, *limits, strict=True)]
    return f"{statistics.median(pairs):.3f} ({min(pairs):.3f} to {max(pairs):.3f})"


def line(row: dict[str, Any]) -> str:
    """A row of the table, as Markdown; rates are images per second."""
    rates = {key: f"{statistics.median(row[key]):.4g}" if row[key] else "" for key in RATES}
    cells = [
        row["network"], row["precision"], row["batch"], rates["hand"], rates["ours"], ratio(row["ours"], row["hand"]),
        rates["alone"], rates["files"], ratio(row["files"], row["alone"], row["ours"]), rates["cache"],
        ratio(row["cache"], row["ours"]), rates["timm"], f"{row['memory']:.1f} GB", f"{row['waits']:.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main(machine: Callable[[], str]) -> None:
    """Measure, and keep the table: as JSON, and in the README; without a GPU, say so."""
    if shutil.which("nvidia-smi") is None:
        print("This machine has no NVIDIA GPU (no nvidia-smi): nothing is measured, and the table stays.")
        return
    WORK.mkdir(exist_ok=True)
    gpu = subprocess.run(QUERY, check=True, capture_output=True, text=True).stdout.strip()
    measured: list[dict[str, Any]] = []
    rows = [(name, precision) for name in NETWORKS for precision in PRECISIONS]
    for name, precision in track(rows, "Measuring"):
        task, words = NETWORKS[name]
        try:
            found = figures(project(task), "gpu.py", precision, STEPS, PAIRS, *words)
        except RuntimeError as error:  # the other rows are worth having
            print(f"{name}, {precision}: {error}")
            continue
        measured.append({"network": name, "precision": precision, **found})
        keep(measured, f"{gpu}; {machine()}")  # as it goes: what is measured stays if somebody breaks off


def keep(measured: list[dict[str, Any]], machine: str) -> None:
    """Write the rows, as JSON and into the README."""
    (WORK / "gpu.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    before, _, after = re.split(f"{BEGIN}|{END}", README.read_text(encoding="utf-8"))
    text = "\n".join([HEAD, *map(line, measured)])
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{machine}\n\n{END}{after}", encoding="utf-8")
