"""Log metrics to ``metrics.csv``."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from ..run.atomic_files import write_csv
from ..run.folder import read_rows


class MetricsFile(Logger):
    """Append a row to a CSV file each time metrics are logged; a new metric adds a column.

    When training is resumed after ``resumed_step`` optimiser steps, the rows of these steps remain,
    whereas Lightning's ``CSVLogger`` would delete the file.
    """

    def __init__(self, path: Path, *, resumed_step: int = 0) -> None:
        super().__init__()
        self.path = path
        self.resumed_step = resumed_step
        self.columns: list[str] = []  # sorted by name

    @property
    def name(self) -> str:
        """The file name without its suffix."""
        return self.path.stem

    @property
    def version(self) -> str:
        """The run id, i.e. the name of the run folder."""
        return self.path.parent.name

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing, since the settings are in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row with the metrics and the step to the file."""
        row = {**metrics, "step": step}
        if row.keys() <= set(self.columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
            return
        earlier = read_rows(self.path)
        if not self.columns:  # a resumed training run repeats the later steps
            earlier = [old for old in earlier if int(old["step"]) < self.resumed_step]
        rows: list[Mapping[str, object]] = [*earlier, row]
        self.columns = sorted({name for cells in rows for name in cells})
        table = ([cells.get(name) for name in self.columns] for cells in rows)
        write_csv(self.path, self.columns, table)
