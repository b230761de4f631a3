"""The commands: check the settings, and hand over to the module that works.

Nothing heavy is imported at the top, so that ``--help``, ``--cfg job`` and a wrong override answer
at once. PyTorch comes in when the settings are known to be right.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .errors import UsageError
from .run.collector import importing
from .run.identity import is_first
from .settings.launch import RUN_ID, guarded, launch

if TYPE_CHECKING:
    from .run.folder import Run
    from .settings.tree import BenchSettings, Settings

SettingsT = TypeVar("SettingsT", bound="Settings")

RUN_SETTINGS = "TRAIN_RUN_SETTINGS"


def train() -> None:
    """Train, test the best weights, and say where the pictures are."""
    if RUN_SETTINGS in os.environ:  # started by Lightning as a further process of a running job
        return _train_rank(Path(os.environ[RUN_SETTINGS]))
    return launch("train", _train)


def evaluate() -> None:
    """Measure a checkpoint on one split of a data set."""
    launch("evaluate", _evaluate)


def predict() -> None:
    """Run a checkpoint on images."""
    launch("predict", _predict)


def export() -> None:
    """Export a checkpoint to one file for other runtimes."""
    launch("export", _export)


def bench() -> None:
    """Time training with these settings, next to its loader and its model alone."""
    launch("bench", _bench)


def doctor() -> None:
    """Say what is wrong with the data, and what holds training back."""
    launch("doctor", _doctor)


def tune() -> None:
    """Search the settings for the best score."""
    launch("tune", _tune)


@guarded
def _train(config: DictConfig) -> None:
    from .run.folder import Run, find_run
    from .settings.check import check, continued
    from .settings.tree import Settings

    resume = config.get("resume")
    if resume:
        run = find_run(Path(str(config.runs)), str(resume))
        settings = check(continued(run.settings, config, _overrides()), Settings)
        os.environ[RUN_ID] = run.id
        if is_first():
            run.results.unlink(missing_ok=True)  # no longer finished
    else:
        settings = check(config, Settings)
        run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        run.create(settings)
    # Lightning starts further processes by this command line; they take the settings from the run
    # and need no Hydra.
    os.environ[RUN_SETTINGS] = str(run.settings_file)
    HydraConfig.instance().cfg = None
    try:
        with importing():
            from .train import run_training
        run_training(settings, run)
    finally:
        del os.environ[RUN_SETTINGS]


def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)


def _train_rank(settings_file: Path) -> None:
    from .run.folder import Run
    from .settings.check import check
    from .settings.tree import Settings

    with importing():
        from .train import run_training

    run = Run(settings_file.parent)
    run_training(check(run.settings, Settings), run)


@guarded
def _evaluate(config: DictConfig) -> None:
    from .settings.tree import EvaluateSettings

    settings, run = _prepared(config, EvaluateSettings)
    with importing():
        from .evaluate import run_evaluation
    run_evaluation(settings, run)


@guarded
def _predict(config: DictConfig) -> None:
    from .settings.tree import PredictSettings

    settings, run = _prepared(config, PredictSettings)
    with importing():
        from .predict import run_prediction
    run_prediction(settings, run)


@guarded
def _export(config: DictConfig) -> None:
    from .settings.tree import ExportSettings

    settings, run = _prepared(config, ExportSettings)
    with importing():
        from .export.export import run_export
    run_export(settings, run)


@guarded
def _bench(config: DictConfig) -> None:
    settings, run = _timed(config)
    with importing():
        from .diagnostics.bench import run_bench
    run_bench(settings, run)


@guarded
def _doctor(config: DictConfig) -> None:
    settings, run = _timed(config)
    with importing():
        from .diagnostics.doctor import run_doctor
    run_doctor(settings, run)


def _timed(config: DictConfig) -> tuple["BenchSettings", "Run"]:
    from .run.folder import Run
    from .settings.check import check
    from .settings.tree import BenchSettings

    settings = check(config, BenchSettings)
    run = Run(settings.runs / os.environ[RUN_ID])
    run.create(settings)
    return settings, run


@guarded
def _tune(config: DictConfig) -> None:
    if find_spec("optuna") is None:
        raise UsageError(
            "tune needs the package optuna, which is not installed.\n"
            "Install it: uv sync --extra tune"
        )
    from .search.search_space import check_search

    settings = check_search(config, _overrides())
    from .search.tune import run_search

    run_search(settings, _overrides())


def _prepared(config: DictConfig, model: type[SettingsT]) -> tuple[SettingsT, "Run"]:
    """Take data and model from the checkpoint, all else from the command line, which also wins."""
    from .run.folder import Run
    from .settings.check import check, continued

    names = ("data.", "model.")  # what they may be depends on the checkpoint
    if config.checkpoint is None or not any(
        key.lstrip("+").startswith(names) for key in _overrides()
    ):
        check(config, model)  # a mistake is told before PyTorch is imported
    # ~ if cookiecutter.use_wandb
    if str(config.checkpoint).startswith("wandb:"):
        from .tracking.artifacts import fetch_checkpoint

        config.checkpoint = str(fetch_checkpoint(config.checkpoint, config.tracking))
    # ~ endif
    with importing():
        from .training.checkpoint import read_checkpoint

    stored = read_checkpoint(Path(config.checkpoint))["settings"]
    kept = {"data": stored["data"], "model": stored["model"]}
    settings = check(continued(kept, config, _overrides()), model)
    run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        run.create(settings)
    return settings, run
