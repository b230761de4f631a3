"""Metrics as a file that grows, and a picture of it."""

import warnings
from collections import defaultdict
from pathlib import Path
from typing import cast

import matplotlib as mpl
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from matplotlib import pyplot as plt

from ...run.folder import Run, read_metrics, read_rows

mpl.use("Agg")

COLUMNS = 3


class MetricsFile(CSVLogger):
    """``metrics.csv`` in the run folder, continued when a run is resumed.

    Lightning's own logger deletes an earlier file; this one takes up its rows first.
    """

    def __init__(self, folder: Path, *, up_to_step: int = 0) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=1)
        self.path = Run(folder).metrics
        self.up_to_step = up_to_step  # rows of steps that will be trained again are dropped

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The writer, made when it is first asked for."""
        if self._experiment is None:
            rows = [row for row in read_rows(self.path) if int(row["step"]) < self.up_to_step]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it deletes the file
                writer: _ExperimentWriter = super().experiment
            writer.metrics = cast("list[dict[str, float]]", rows)  # written as they are
            writer.save()
        return cast("_ExperimentWriter", super().experiment)


class Curves(Callback):
    """Draw ``curves.png`` when training ends, in whatever way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw after the last epoch."""
        self._draw(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Draw what there is."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            draw_curves(read_metrics(Run(self.folder).metrics), self.folder / "curves.png")


def draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw what is learned over the steps; training and validation of the same metric share axes.

    Args:
        rows: what ``read_metrics`` returns.
        path: the PNG file to write; nothing is written if there is no metric yet.
    """
    series: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for name, value in row.items():
            if "/" in name and not name.startswith(("test/", "perf/")):
                split, metric = name.split("/", 1)
                series[metric][split].append((row["step"], value))
    if not series:
        return
    height = -(-len(series) // COLUMNS)
    figure, grid = plt.subplots(
        height, COLUMNS, figsize=(4 * COLUMNS, 3 * height), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(series) :]:
        axes.remove()
    for axes, (metric, lines) in zip(grid.flat, series.items(), strict=False):
        for split, points in lines.items():
            axes.plot(
                *zip(*points, strict=True), label=split, marker="." if len(points) < 40 else None
            )
        axes.set(title=metric, xlabel="step")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
