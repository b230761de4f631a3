"""Train a model, test its best checkpoint and write the report."""

from lightning.pytorch import Callback, seed_everything
from PIL.Image import Image

# ~ if cookiecutter.scope == "complete"
from .clusters.preemption import Preemption, requeued_if_preempted
from .clusters.slurm import slurm_plugins
from .data.cache import cache_images
# ~ endif
from .data.datamodule import DataModule
from .data.reading import check_learnable, report_reading
from .data.split import record_split
from .data.value_range import with_value_range
from .evaluation.callback import EvaluationResults
from .evaluation.report import print_summary, write_report
from .run.folder import Run
from .run.identity import is_first
from .settings.tree import Settings
from .task import METRICS, TaskModule, build_datasets, draw_prediction
from .training.callbacks.curves import TrainingCurves
from .training.callbacks.performance import Performance
from .training.callbacks.pictures import PredictedSample, PredictionPictures
from .training.callbacks.resume import ExactResume
from .training.checkpoint import CheckpointContents, resumable_checkpoint
from .training.loggers import open_trackers
from .training.metrics_file import MetricsFile
from .training.trainer import build_trainer, checkpoint_callbacks, step_callbacks


def run_training(settings: Settings, run: Run) -> dict[str, float]:
    """Train a model, test its best checkpoint and write the report.

    Args:
        settings: the settings of the training.
        run: the run to write; if its folder contains checkpoints, training is resumed.

    Returns:
        The test metrics by name.

    Raises:
        UsageError: if the data or the settings are invalid.
        # ~ if cookiecutter.scope == "complete"
        PreemptedError: if training was ended by a signal; it can be resumed with ``resume``.
        # ~ endif
    """
    seed_everything(settings.seed, workers=True, verbose=False)
    datasets = build_datasets(settings.data)
    settings = with_value_range(settings, datasets)
    if is_first():
        run.write_settings(settings)
    check_learnable(datasets.reading)
    report_reading(datasets.reading, run)
    settings = record_split(settings, datasets, run)
    # ~ if cookiecutter.scope == "complete"
    if settings.data.cache:
        cache_images(datasets, settings)
    # ~ endif
    datamodule = DataModule(
        datasets,
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
        seed=settings.seed,
    )
    resumed, step = resumable_checkpoint(run) or (None, 0)
    module = TaskModule(settings, list(datasets.classes), download=resumed is None)
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
                *_make_callbacks(settings, run, module),
                ExactResume(datamodule),
                results,
                *callbacks,
                Performance(),
            ],
            # ~ if cookiecutter.scope == "complete"
            plugins=slurm_plugins(),
            # ~ endif
        )
        trainer.fit(module, datamodule=datamodule, ckpt_path=resumed, weights_only=True)
        (metrics,) = trainer.test(
            module, datamodule=datamodule, ckpt_path=run.best, weights_only=True, verbose=False
        )
        if trainer.is_global_zero:
            scores = module.scores_by_class()
            write_report(run, metrics, results, scores, datamodule=datamodule, draw=draw_prediction)
            print_summary(run, metrics)
    return dict(metrics)


def _make_callbacks(settings: Settings, run: Run, module: TaskModule) -> list[Callback]:
    def draw(shown: PredictedSample) -> Image:
        return draw_prediction(shown.image, shown.target, shown.prediction, module.classes)

    chosen = settings.pictures
    pictures = PredictionPictures(
        run.folder / "predictions", draw, count=chosen.count, every_n_epochs=chosen.every_n_epochs
    )
    return [
        *step_callbacks(settings),
        pictures,
        TrainingCurves(run),
        # ~ if cookiecutter.scope == "complete"
        Preemption(run.last),
        # ~ endif
        CheckpointContents(settings, module.classes),
        *checkpoint_callbacks(
            settings, run, monitor=settings.monitor, mode=METRICS[settings.monitor]
        ),
    ]
