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
    """Append a row to a CSV file each time metrics are logged.

    Columns are sorted by name; a new metric adds a column. When training is resumed, rows are added
    to the existing file, which Lightning's ``CSVLogger`` would delete.
    """

    def __init__(self, path: Path, *, resumed_step: int = 0) -> None:
        """Set the path of the file, which is written when metrics are logged.

        Args:
            path: the CSV file.
            resumed_step: the number of optimiser steps in the checkpoint that is resumed. Rows
                whose step, counted from 0, is not below this number are deleted.
        """
        super().__init__()
        self.path = path
        self.resumed_step = resumed_step
        self.columns: list[str] = []

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
