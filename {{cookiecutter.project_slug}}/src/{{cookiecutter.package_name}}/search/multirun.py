"""Watch the jobs of ``train -m``; ``configs/train.yaml`` names the callback.

Hydra imports this module at the start of every command, so the modules that draw are imported late.
"""

import os
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ..run.atomic_files import write_text
from ..run.environment import without_secrets
from ..run.folder import Run
from ..run.processes import RUN_ID


class Multirun(Callback):
    """Hydra calls this callback before each job and after the last job of a multirun."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Redact secrets in the file to which Hydra has written the command line."""
        file = Path(config.hydra.sweep.dir) / "multirun.yaml"
        if file.is_file():
            write_text(file, without_secrets(file.read_text(encoding="utf-8")))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the training runs; exit with status 1 if a job has failed."""
        for file in Path(config.hydra.sweep.dir).glob("slurm/*/*"):
            if file.suffix == ".pkl":
                file.unlink()  # it holds the command line of a job, which has ended
            elif file.is_file():
                write_text(file, without_secrets(file.read_text("utf-8", errors="replace")))
        runs, prefix = Path(config.runs), f"{os.environ[RUN_ID]}-"
        suffixes = [folder.name.removeprefix(prefix) for folder in runs.glob(f"{prefix}*")]
        numbers = sorted(filter(str.isdigit, suffixes), key=int)
        jobs = [Run(runs / f"{prefix}{number}") for number in numbers]
        # Jobs such as those of ``-m resume=a,b`` have folders of other names.
        if config.hydra.job.config_name == "train" and jobs:
            from .compare import compare, draw_scores, read_result  # noqa: PLC0415

            folder = Path(config.hydra.sweep.dir)
            results = [read_result(job) for job in jobs]
            compare(results, folder, draw_scores(results, folder / "results.png"))
        if any(job.failure.is_file() for job in jobs):
            sys.exit(1)
