"""Plot the metrics of a training run over its steps."""

import math
from collections import defaultdict
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...run.atomic_files import replacing
from ...run.folder import Run, read_metrics

COLUMNS = 3
MAX_EPOCHS = 6  # epochs at the upper edge
COLORS = {"train": "C0", "val": "C1", "train, mean of the epoch": "C2"}
TITLES = {
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    # ~ if cookiecutter.task == "classification"
    "f1": "F1",
    # ~ elif cookiecutter.task == "detection"
    "mAP_50": "mAP at IoU 0.50",
    "mAP_75": "mAP at IoU 0.75",
    "mAP_small": "mAP of small objects",
    "mAP_medium": "mAP of medium objects",
    "mAP_large": "mAP of large objects",
    # The terms of the loss, as torchvision names them.
    "loss_classification": "loss: classes",
    "loss_bbox_regression": "loss: boxes",
    "loss_bbox_ctrness": "loss: centre-ness",
    # ~ if cookiecutter.scope == "complete"
    "loss_classifier": "loss: classes",
    "loss_box_reg": "loss: boxes",
    "loss_objectness": "loss: objectness of proposals",
    "loss_rpn_box_reg": "loss: boxes of proposals",
    # ~ endif
    # ~ elif cookiecutter.task == "segmentation"
    "dice": "Dice",
    # ~ endif
}


class TrainingCurves(Callback):
    """Write ``curves.png`` when training ends, even if it is interrupted or fails."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_fit_end(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException | None = None
    ) -> None:
        """Plot the metrics of all steps so far."""
        if trainer.is_global_zero:
            draw_curves(read_metrics(self.run.metrics), self.run.folder / "curves.png")

    on_exception = on_fit_end


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Plot each metric over the steps, with training and validation in the same axes.

    A metric with a single value is left out. If no metric has several, the PNG file is not written.
    """
    series: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in row.items():
            split, _, metric = name.partition("/")
            if metric == "loss_epoch":
                split, metric = f"{split}, mean of the epoch", "loss"
            if name.startswith(("train/", "val/")):
                series[metric][split].append((row["step"], value))
    several = {name: lines for name, lines in series.items() if max(map(len, lines.values())) > 1}
    if not several:
        return
    # The loss comes first, then the metrics of the validation.
    order = sorted(several, key=lambda metric: (metric != "loss", "val" not in several[metric]))
    height = math.ceil(len(several) / COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 3.5 * height), layout="constrained")
    for position, metric in enumerate(order, start=1):
        axes = figure.add_subplot(height, COLUMNS, position)
        for split, points in several[metric].items():
            steps, values = zip(*points, strict=True)
            marker = "." if len(points) < 40 else None
            axes.plot(steps, values, color=COLORS.get(split), label=split, marker=marker)
        axes.set(title=TITLES.get(metric, metric.replace("_", " ")), xlabel="step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _add_epochs(axes, rows)
        # Below the axes, where it hides no part of a line.
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.18),
            ncols=3,
            handlelength=1,
            columnspacing=1,
            frameon=False,
        )
        axes.grid(alpha=0.3)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=110)


def _add_epochs(axes: Axes, rows: list[dict[str, float]]) -> None:
    """Show the number of the epoch, from 0, at the last step of some epochs."""
    trained = [row for row in rows if not any(name.startswith("test/") for name in row)]
    ends = {int(row["epoch"]): row["step"] for row in trained if "epoch" in row}
    chosen = sorted(ends)[-1 :: -math.ceil(len(ends) / MAX_EPOCHS)] if len(ends) > 1 else []
    if chosen:
        upper = axes.secondary_xaxis("top")
        upper.set_ticks([ends[epoch] for epoch in chosen], [str(epoch) for epoch in chosen])
        upper.set_xlabel("epoch")
