"""The end of a multirun: a table of its runs, and the exit code."""

import os
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ..run.folder import Run
from ..run.identity import RUN_ID


class Multirun(Callback):
    """Hydra calls it when the last job of a multirun has ended; see ``configs/train.yaml``."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the runs of the jobs; a failed job makes the command fail."""
        runs, shared = Path(config.runs), f"{os.environ[RUN_ID]}-"
        ends = [folder.name.removeprefix(shared) for folder in runs.glob(f"{shared}*")]
        numbers = sorted(filter(str.isdigit, ends), key=int)
        jobs = [Run(runs / f"{shared}{number}") for number in numbers]
        if config.hydra.job.config_name == "train":
            from .compare import compare  # noqa: PLC0415 - only this command needs to draw

            compare(jobs, Path(config.hydra.sweep.dir))
        if any(job.failure.is_file() for job in jobs):
            sys.exit(1)
