"""The commands of this project.

Only modules that import quickly are imported at the top, so that ``--help`` and a wrong setting are
answered at once. PyTorch is imported after the settings have been checked.
"""

from .run.signals import interruptible

with interruptible():
    # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
    import logging
    # ~ endif
    import os
    from pathlib import Path
    from typing import Any, TypeVar

    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    # ~ if cookiecutter.scope == "complete"
    from .diagnostics.settings import BenchSettings, DoctorSettings
    # ~ endif
    from .errors import UsageError
    # ~ if cookiecutter.scope == "complete"
    from .export.settings import ExportSettings
    from .run.folder import Run, find_checkpoint, find_run, read_metrics
    # ~ else
    from .run.folder import Run, find_run, read_metrics
    # ~ endif
    from .run.lock import locked_run
    from .run.processes import RUN_ID, is_first
    # ~ if cookiecutter.scope == "complete"
    from .search.search_space import Search, check_search
    # ~ endif
    from .settings.check_settings import check, problems, refuse, resolved
    from .settings.data import SHAPES_ROOT
    from .settings.hydra_launch import RUN_SETTINGS, command
    from .settings.schema import EvaluateSettings, PredictSettings, Settings
    from .settings.stored_settings import (
        completed,
        overridden,
        refer_to_split,
        resumed_settings,
    )

SettingsT = TypeVar("SettingsT", bound=Settings)

# Settings of the data on which a model depends: a preset such as data=shapes keeps them.
# ~ if cookiecutter.task != "classification" and cookiecutter.scope == "complete"
KEPT = ("data.image_size", "data.fit", "data.tiles", "data.channels", "data.value_range")


# ~ else
KEPT = ("data.image_size", "data.fit", "data.channels", "data.value_range")


# ~ endif
@command("train", Settings)
def train(config: DictConfig) -> None:
    """Train, test the best weights and write the report."""
    if RUN_SETTINGS in os.environ:  # Lightning has started this process with a rank above 0
        from .train import run_training

        run = Run(Path(os.environ[RUN_SETTINGS]).parent)
        run_training(check(run.settings, Settings), run)
        return
    # ~ if cookiecutter.scope == "complete"
    if config.get("resume") and config.get("init"):
        raise UsageError(
            "resume and init cannot be used together: resume continues a run in its folder, "
            "init starts a new run from the weights of another one. Leave out one of them."
        )
    # ~ endif
    if config.get("resume"):
        run = find_run(Path(str(config.runs)), str(config.resume))
        os.environ[RUN_ID] = run.id  # the settings may refer to it
        settings = resumed_settings(run, config, _overrides())
    else:
        settings = check(config, Settings)
        # ~ if cookiecutter.scope == "complete"
        start = settings.init
        # ~ if cookiecutter.use_wandb
        if start and start.startswith("wandb:"):
            from .tracking.registry import fetch_checkpoint

            start = str(fetch_checkpoint(start, config.tracking, setting="init"))
        # ~ endif
        if start:
            checkpoint = find_checkpoint(settings.runs, start)
            settings = settings.model_copy(update={"init": str(checkpoint)})
        # ~ endif
        run = Run(settings.runs / os.environ[RUN_ID])
        if run.split.is_file() and getattr(settings.data, "split_file", "") is None:
            # A run that is continued by its id keeps its split also if there are new images.
            data = settings.data.model_copy(update={"split_file": run.split})
            settings = settings.model_copy(update={"data": data})
        # ~ if cookiecutter.use_wandb
        if run.results.is_file() and run.id == os.environ.get("WANDB_RUN_ID"):
            raise UsageError(
                f"WANDB_RUN_ID={run.id}: the run {run.folder} is finished.\n"
                f"Unset the variable to start a new run; to continue this one: resume={run.id}"
            )
        # ~ endif
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    settings = _with_data_here(settings)
    # ~ endif
    with locked_run(run):
        read_metrics(run.metrics)  # refuse a damaged file before PyTorch is imported
        if is_first():
            run.create(settings)
        os.environ[RUN_SETTINGS] = str(run.settings_file)
        HydraConfig.instance().cfg = None  # otherwise Lightning starts its processes through Hydra
        try:
            from .train import run_training

            run_training(settings, run)
        finally:
            del os.environ[RUN_SETTINGS]


@command("evaluate", EvaluateSettings)
def evaluate(config: DictConfig) -> None:
    """Measure a checkpoint on one split of a data set."""
    settings = _settings_of_checkpoint(config, EvaluateSettings)
    from .evaluate import run_evaluation

    run_evaluation(settings, _create_run(settings))


@command("predict", PredictSettings)
def predict(config: DictConfig) -> None:
    """Predict files with a checkpoint."""
    settings = _settings_of_checkpoint(config, PredictSettings)
    from .predict import run_prediction

    run_prediction(settings, _create_run(settings))


def _settings_of_checkpoint(config: DictConfig, model: type[SettingsT]) -> SettingsT:
    """Combine the settings in a checkpoint with those of the command line.

    Data and model come from the checkpoint, all other settings from the command line. An override
    of data or model replaces the stored value. Other data keep the image size, the fit, the
    channels and the range of values of the checkpoint unless they are given.
    """
    overrides = _overrides()
    # Settings of data and model can be checked only together with the stored ones, after PyTorch
    # has been imported. Other mistakes are reported before.
    mistakes = problems(resolved(config), model)
    refuse([found for found in mistakes if found[0].split(".")[0] not in {"data", "model"}])
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    if str(config.checkpoint).startswith("wandb:"):
        from .tracking.registry import fetch_checkpoint

        config.checkpoint = str(fetch_checkpoint(config.checkpoint, config.tracking))
    # ~ endif
    path = Path(config.checkpoint)
    # ~ if cookiecutter.scope == "complete"
    from .export.onnx_model import read_checkpoint

    # ~ else
    from .training.checkpoint import read_checkpoint

    # ~ endif
    content = read_checkpoint(path)
    stored: dict[str, Any] = completed(content["settings"], Settings, source=path)
    groups = {"data": stored["data"], "model": stored["model"]}
    if groups["data"].get("name") == "shapes":
        # The shapes may be generated again, but never in a folder that a checkpoint names.
        groups["data"]["root"] = SHAPES_ROOT
    if groups["data"].get("split_file"):  # the run folder may have been moved
        files = [Run(folder).split for folder in path.absolute().parents[:2]]
        refer_to_split(groups["data"], files, overrides)
    # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
    # ~ if cookiecutter.scope == "complete"
    # ~ if cookiecutter.task == "detection"
    exported = content.get("postprocessing", {}).get("shown_from")  # by an ONNX file
    # ~ else
    exported = content.get("postprocessing", {}).get("threshold")  # by an ONNX file
    # ~ endif
    if model is not EvaluateSettings and exported is not None:
        groups["model"]["score_threshold"] = exported
    elif model is not EvaluateSettings:
        _use_best_threshold(groups, config, path)
    # ~ else
    if model is not EvaluateSettings:
        _use_best_threshold(groups, config, path)
    # ~ endif
    # ~ endif
    tree = overridden(groups, resolved(config), overrides, keep=KEPT)
    # ~ if cookiecutter.use_wandb and cookiecutter.scope == "complete"
    return _with_data_here(check(tree, model))


def _with_data_here(settings: SettingsT) -> SettingsT:
    """Download the data set that ``data.root=wandb:...`` names; return settings with its folder."""
    if not str(settings.data.root).startswith("wandb:"):
        return settings
    from .tracking.registry import fetch_data

    root = fetch_data(str(settings.data.root), settings.tracking)
    return settings.model_copy(update={"data": settings.data.model_copy(update={"root": root})})


# ~ else
    return check(tree, model)


# ~ endif
# ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
def _use_best_threshold(groups: dict[str, Any], config: DictConfig, checkpoint: Path) -> None:
    """Replace the default score threshold by the best threshold of the training run's test.

    A threshold that the training run or this command was given is kept.
    """
    # ~ if cookiecutter.task == "classification"
    if not groups["data"].get("multilabel"):
        return
    # ~ endif
    given = any("model.score_threshold=" in word for word in _overrides())
    default = config.model.score_threshold
    if given or groups["model"]["score_threshold"] != default:
        return
    run, log = Run(checkpoint.absolute().parent.parent), logging.getLogger(__name__)
    if (best := run.best_threshold) is not None:
        groups["model"]["score_threshold"] = best
        log.info("model.score_threshold=%g had the highest F1 in the training run's test.", best)
    else:
        words = (default, run.results)
        log.info("model.score_threshold=%g, the default: no best threshold is in %s.", *words)


# ~ endif


def _create_run(settings: Settings) -> Run:
    run = Run(settings.runs / os.environ[RUN_ID])
    if is_first():
        if run.results.is_file() or run.checkpoints or any(run.folder.glob("predictions*")):
            raise UsageError(
                f"{RUN_ID}={run.id}: {run.folder} holds the results of another command.\n"
                f"They would be replaced: unset the variable {RUN_ID} for this command."
            )
        run.create(settings)
    return run


# ~ if cookiecutter.scope == "complete"
@command("export", ExportSettings)
def export(config: DictConfig) -> None:
    """Export a checkpoint to one file for other runtimes."""
    settings = _settings_of_checkpoint(config, ExportSettings)
    from .export.export import run_export

    run_export(settings, _create_run(settings))


@command("bench", BenchSettings)
def bench(config: DictConfig) -> None:
    """Measure the speed of a training run, of its loader alone and of its model alone."""
    # ~ if cookiecutter.use_wandb
    settings = _with_data_here(check(config, BenchSettings))
    # ~ else
    settings = check(config, BenchSettings)
    # ~ endif
    from .diagnostics.bench import run_bench

    run_bench(settings, _create_run(settings))


@command("doctor", DoctorSettings)
def doctor(config: DictConfig) -> None:
    """Check the data, and find the setting that limits the speed of a training run."""
    # ~ if cookiecutter.use_wandb
    settings = _with_data_here(check(config, DoctorSettings))
    # ~ else
    settings = check(config, DoctorSettings)
    # ~ endif
    from .diagnostics.doctor import run_doctor

    run_doctor(settings, _create_run(settings), _overrides())


@command("tune", Search)
def tune(config: DictConfig) -> None:
    """Search for the settings with the best score."""
    settings = check_search(config, _overrides())
    from .search.tune import run_search

    run_search(settings, _overrides())


# ~ endif
def _overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task)
