"""The commands of this project.

Only modules that import quickly are imported at the top, so that ``--help`` and a wrong setting are
answered at once. PyTorch is imported after the settings have been checked.
"""

from .run import signals  # first, for Ctrl-C during the other imports

# isort: split
import os
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from .errors import UsageError
from .run.folder import Run, find_run, read_metrics
from .run.identity import RUN_ID, is_first
from .run.lock import owned
from .settings.check import check, resolved
from .settings.data import SHAPES_ROOT
from .settings.launch import launch, report
from .settings.stored import (
    check_trackers,
    completed,
    overridden,
    refer_to_split,
    without_presets,
)
from .settings.tree import EvaluateSettings, PredictSettings, Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

# Settings of the data that a model was made for: other data do not change them.
KEPT = ("data.image_size", "data.fit", "data.channels", "data.value_range")
RUN_SETTINGS = "TRAIN_RUN_SETTINGS"  # the environment variable with the path of a run's config.yaml


def train() -> None:
    """Train, test the best weights and write the report."""
    if RUN_SETTINGS not in os.environ:
        launch("train", Settings, _train)
        return
    # Lightning has started this process with a rank above 0: the run exists already.
    run = Run(Path(os.environ[RUN_SETTINGS]).parent)
    try:
        with signals.interruptible():
            from .train import run_training

            run_training(check(run.settings, Settings), run)
    except (Exception, signals.Interrupted) as error:  # noqa: BLE001 - raised unless explained
        report(error, run)


def _train(config: DictConfig) -> None:
    if config.get("resume"):
        run = find_run(Path(str(config.runs)), str(config.resume))
        os.environ[RUN_ID] = run.id  # the settings may refer to it
        stored = completed(run.settings, Settings, source=run.settings_file)
        composed = resolved(config)
        overrides = without_presets(_overrides(), stored, composed)
        refer_to_split(stored["data"], [run.split], overrides)
        tree = overridden(stored, composed, overrides)
        check_trackers(
            tree.get("tracking"),
            composed.get("tracking"),
            source=run.settings_file,
            folder=run.folder,
        )
        settings = check(tree, Settings)
    else:
        settings = check(config, Settings)
        run = Run(settings.runs / os.environ[RUN_ID])
    with owned(run):
        read_metrics(run.metrics)  # refuse a damaged file before PyTorch is imported
        if is_first():
            run.create(settings)
        # Lightning starts processes with this command line; they read the settings of the run.
        os.environ[RUN_SETTINGS] = str(run.settings_file)
        HydraConfig.instance().cfg = None  # otherwise Lightning starts its processes through Hydra
        try:
            from .train import run_training

            run_training(settings, run)
        finally:
            del os.environ[RUN_SETTINGS]


def evaluate() -> None:
    """Measure a checkpoint on one split of a data set."""

    def work(config: DictConfig) -> None:
        settings = _settings_of_checkpoint(config, EvaluateSettings)
        from .evaluate import run_evaluation

        run_evaluation(settings, _create_run(settings))

    launch("evaluate", EvaluateSettings, work)


def predict() -> None:
    """Predict files with a checkpoint."""

    def work(config: DictConfig) -> None:
        settings = _settings_of_checkpoint(config, PredictSettings)
        from .predict import run_prediction

        run_prediction(settings, _create_run(settings))

    launch("predict", PredictSettings, work)


def _settings_of_checkpoint(config: DictConfig, model: type[SettingsT]) -> SettingsT:
    """Combine the settings in a checkpoint with those of the command line.

    Data and model come from the checkpoint, all other settings from the command line. An override
    of data or model replaces the stored value. Other data keep the image size, the fit, the
    channels and the range of values of the checkpoint unless they are given.
    """
    overrides = _overrides()
    # Overrides of data and model can be checked only together with the stored settings.
    needs_checkpoint = any(word.lstrip("+").startswith(("data.", "model.")) for word in overrides)
    if config.checkpoint is None or not needs_checkpoint:
        check(config, model)  # report mistakes before PyTorch is imported
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    if str(config.checkpoint).startswith("wandb:"):
        from .tracking.registry import fetch_checkpoint

        config.checkpoint = str(fetch_checkpoint(config.checkpoint, config.tracking))
    # ~ endif
    # ~ if cookiecutter.scope == "complete"
    from .export.onnx_model import read_checkpoint

    # ~ else
    from .training.checkpoint import read_checkpoint

    # ~ endif
    path = Path(config.checkpoint)
    if not path.is_file():  # before PyTorch is imported
        raise UsageError(f"checkpoint={path}: there is no such file.")
    stored: dict[str, Any] = read_checkpoint(path)["settings"]
    stored = completed(stored, Settings, source=path)
    groups = {"data": stored["data"], "model": stored["model"]}
    if groups["data"].get("name") == "shapes":
        groups["data"]["root"] = SHAPES_ROOT  # shapes are drawn, but not where a file says
    if groups["data"].get("split_file"):  # the run folder may have been moved
        files = [Run(folder).split for folder in path.absolute().parents[:2]]
        refer_to_split(groups["data"], files, overrides)
    tree = overridden(groups, resolved(config), overrides, keep=KEPT)
    return check(tree, model)


def _create_run(settings: Settings) -> Run:
    run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        run.create(settings)
    return run


# ~ if cookiecutter.scope == "complete"
def export() -> None:
    """Export a checkpoint to one file for other runtimes."""
    from .export.settings import ExportSettings

    def work(config: DictConfig) -> None:
        settings = _settings_of_checkpoint(config, ExportSettings)
        from .export.export import run_export

        run_export(settings, _create_run(settings))

    launch("export", ExportSettings, work)


def bench() -> None:
    """Measure the speed of a training, of its loader alone and of its model alone."""
    from .diagnostics.settings import BenchSettings

    def work(config: DictConfig) -> None:
        settings = check(config, BenchSettings)
        from .diagnostics.bench import run_bench

        run_bench(settings, _create_run(settings))

    launch("bench", BenchSettings, work)


def doctor() -> None:
    """Check the data, and find the setting that limits the speed of a training."""
    from .diagnostics.settings import DoctorSettings

    def work(config: DictConfig) -> None:
        settings = check(config, DoctorSettings)
        from .diagnostics.doctor import run_doctor

        run_doctor(settings, _create_run(settings))

    launch("doctor", DoctorSettings, work)


def tune() -> None:
    """Search for the settings with the best score."""
    from importlib.util import find_spec

    from .search.search_space import Search, check_search

    def work(config: DictConfig) -> None:
        if find_spec("optuna") is None:
            raise UsageError(
                "tune needs the package optuna, which is not installed.\n"
                "Install it: uv sync --extra tune"
            )
        settings = check_search(config, _overrides())
        from .search.tune import run_search

        run_search(settings, _overrides())

    launch("tune", Search, work)


# ~ endif
def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)
