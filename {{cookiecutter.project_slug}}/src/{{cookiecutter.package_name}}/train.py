"""Train a model, test its best checkpoint and write the report."""

# ~ if cookiecutter.scope == "complete"
from pathlib import Path

# ~ endif
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import LambdaCallback

# ~ if cookiecutter.task == "classification"
from .classification.dataset import build_datasets
from .classification.draw import draw_prediction
from .classification.module import ClassificationModule as TaskModule
# ~ endif
# ~ if cookiecutter.scope == "complete"
from .clusters.preemption import Preemption, requeued_if_preempted, slurm_plugins
from .data.cache import cache_images
# ~ endif
from .data.check_datasets import check_learnable, check_outside_runs
from .data.check_images import check_images
from .data.datamodule import DataModule
from .data.reading_summary import report_reading, write_reading
from .data.resize import with_image_size
from .data.split import record_split
# ~ if cookiecutter.scope == "complete"
from .data.value_range import with_value_range
# ~ endif
# ~ if cookiecutter.task == "detection"
from .detection.boxes import without_padding
from .detection.dataset import build_datasets
from .detection.draw import draw_prediction
from .detection.module import DetectionModule as TaskModule
# ~ endif
from .evaluation.report import print_summary, write_report
from .evaluation.score_counts import EvaluationResults
# ~ if cookiecutter.scope == "complete"
from .inference.load_model import check_resumed, start_from
# ~ else
from .inference.load_model import check_resumed
# ~ endif
from .run.folder import Run
from .run.processes import is_first
# ~ if cookiecutter.task == "segmentation"
from .segmentation.dataset import build_datasets
from .segmentation.draw import draw_prediction
from .segmentation.module import SegmentationModule as TaskModule
from .segmentation.predicted_masks import without_padding
# ~ endif
from .settings.data import ShapesSettings
from .settings.schema import METRICS, Settings
from .training.callbacks.curves import TrainingCurves
from .training.callbacks.each_step import EpochLog
# ~ if cookiecutter.scope == "complete"
from .training.callbacks.epoch_position import EpochPosition
from .training.callbacks.performance import Performance
# ~ endif
from .training.callbacks.pictures import PredictionPictures
from .training.callbacks.resume import ExactResume
from .training.checkpoint import (
    CheckpointContents,
    checkpoint_callbacks,
    read_checkpoint,
    resumable_checkpoint,
)
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "detection"
from .training.class_weights import with_class_weights
# ~ endif
from .training.metrics_file import MetricsFile
from .training.open_trackers import open_trackers
# ~ if cookiecutter.scope == "complete"
from .training.trainer import build_trainer, check_extra, log_start, step_callbacks
# ~ else
from .training.trainer import build_trainer, log_start, step_callbacks
# ~ endif
from .training.training_length import too_short, with_epochs


def run_training(settings: Settings, run: Run) -> None:
    """Train a model, or resume a run that has checkpoints; test the best and write the report."""
    # ~ if cookiecutter.scope == "complete"
    check_extra(settings.trainer)
    if isinstance(settings.model.freeze, int):  # refuse too large a number before reading data
        TaskModule(settings, ["a", "b"], download=False)
    # ~ endif
    seed_everything(settings.seed, workers=True, verbose=False)
    datasets = build_datasets(settings.data)
    settings = with_image_size(settings, datasets)
    # ~ if cookiecutter.scope == "complete"
    settings = with_value_range(settings, datasets)
    # ~ if cookiecutter.task != "detection"
    settings = with_class_weights(settings, datasets)
    # ~ endif
    # ~ endif
    resumed, step, epochs = resumable_checkpoint(run) or (None, 0, 0)
    before, settings = settings, with_epochs(settings, datasets, step=step, epochs=epochs)
    if is_first():
        # The number of epochs is stored, but not with max_steps: a resumed run derives it again.
        run.write_settings(before if before.trainer.max_steps else settings)
    check_learnable(datasets.reading)
    check_outside_runs(datasets, settings.data.root, settings.runs)
    report_reading(datasets.reading, run)
    settings = record_split(settings, datasets, run)
    # ~ if cookiecutter.scope == "complete"
    if settings.data.cache:
        cache_images(datasets, settings)
    # ~ endif
    datamodule = DataModule(
        datasets, settings.loader, skip_unreadable=settings.data.skip_unreadable, seed=settings.seed
    )
    # ~ if cookiecutter.scope == "complete"
    from_scratch = resumed is None and settings.init is None
    module = TaskModule(settings, list(datasets.classes), download=from_scratch)
    # ~ else
    module = TaskModule(settings, list(datasets.classes), download=resumed is None)
    # ~ endif
    if resumed is not None:
        check_resumed(module, resumed)
    # ~ if cookiecutter.scope == "complete"
    elif settings.init is not None:
        start_from(module, Path(settings.init))
    # ~ endif
    results = EvaluationResults()
    # ~ if cookiecutter.scope == "complete"
    with requeued_if_preempted(), open_trackers(settings, run, job="train") as (loggers, callbacks):
    # ~ else
    with open_trackers(settings, run, job="train") as (loggers, callbacks):
    # ~ endif
        trainer = build_trainer(
            settings,
            run,
            loggers=[MetricsFile(run.metrics, resumed_step=step), *loggers],
            callbacks=[
                LambdaCallback(on_train_batch_end=lambda *_: run.remove_old_results()),
                *_make_callbacks(settings, run, module),
                ExactResume(datamodule),
                results,
                *callbacks,
                # ~ if cookiecutter.scope == "complete"
                EpochPosition(datamodule),
                Performance(),
                # ~ endif
            ],
            # ~ if cookiecutter.scope == "complete"
            plugins=slurm_plugins(),
            # ~ endif
        )
        log_start(settings, run, module, trainer, trackers=loggers)
        if not isinstance(settings.data, ShapesSettings):
            check_images(
                datasets,
                skip_unreadable=settings.data.skip_unreadable,
                seed=settings.seed,
                pixels=settings.data.pixels,
            )
            write_reading(datasets.reading, run)
        trainer.fit(module, datamodule=datamodule, ckpt_path=resumed, weights_only=True)
        tested = run.best if run.best.is_file() else run.last  # if there was no validation
        content = read_checkpoint(tested)
        module.load_state_dict(content["state_dict"])
        (metrics,) = trainer.test(module, datamodule=datamodule, verbose=False)
        datamodule.share_unreadable()
        if trainer.is_global_zero:
            run.remove_old_results()  # also if there was no step left
            scores = module.scores_by_class()
            write_report(run, metrics, results, scores, datamodule, draw_prediction)
            print(f"Tested: {tested}, saved in epoch {content['epoch']}")
            print_summary(run, metrics, advice=too_short(settings, run))


def _make_callbacks(settings: Settings, run: Run, module: TaskModule) -> list[Callback]:
    folder, pictures = run.folder / "predictions", settings.pictures.model_dump()
    return [
        *step_callbacks(settings),
        EpochLog(),
        # ~ if cookiecutter.task == "classification"
        PredictionPictures(folder, draw_prediction, **pictures),
        # ~ else
        PredictionPictures(folder, draw_prediction, without_padding, **pictures),
        # ~ endif
        TrainingCurves(run),
        # ~ if cookiecutter.scope == "complete"
        Preemption(run.last),
        # ~ endif
        CheckpointContents(settings, module.classes),
        *checkpoint_callbacks(
            settings, run, monitor=settings.monitor, mode=METRICS[settings.monitor]
        ),
    ]
