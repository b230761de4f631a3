"""Train: from settings to a run folder that tells everything."""

from lightning.pytorch import Callback, Trainer, seed_everything
from PIL.Image import Image

# ~ if cookiecutter.scope == "complete"
from .data.cache import cache_images
# ~ endif
from .data.datamodule import DataModule
from .evaluation.callback import EvaluationResults
from .evaluation.report import print_summary, write_report
from .run.folder import Run
from .settings.tree import Settings
from .task import METRICS, MONITOR, TaskModule, build_datasets, draw_prediction
from .training.callbacks.curves import Curves
from .training.callbacks.performance import Performance
from .training.callbacks.pictures import PredictionPictures, Shown
from .training.callbacks.preemption import PreemptedError, Preemption, requeue
from .training.checkpoint import CheckpointContents, read_checkpoint
from .training.loggers import tracked
from .training.metrics_file import MetricsFile
from .training.trainer import build_trainer, checkpoint_callbacks, step_callbacks


def run_training(settings: Settings, run: Run) -> dict[str, float]:
    """Train, test the best weights, write the report.

    Args:
        settings: what to do.
        run: where to write; training continues from the checkpoint that its folder may have.

    Returns:
        The test metrics.

    Raises:
        UsageError: for data or settings that cannot be used.
        PreemptedError: if a signal asked to end; ``last.ckpt`` is where it goes on.
    """
    seed_everything(settings.seed, workers=True, verbose=False)
    datasets = build_datasets(settings.data)
    # ~ if cookiecutter.scope == "complete"
    if settings.data.cache:
        cache_images(datasets, settings)
    # ~ endif
    datamodule = DataModule(
        datasets, settings.loader, skip_unreadable=settings.data.skip_unreadable
    )
    resumed = run.last if run.last.is_file() else None
    step = int(read_checkpoint(resumed)["global_step"]) if resumed else 0
    module = TaskModule(settings, list(datasets.classes), download=resumed is None)
    results = EvaluationResults()
    try:
        with tracked(settings, run, job="train") as (loggers, callbacks):
            trainer = build_trainer(
                settings,
                run,
                loggers=[MetricsFile(run.metrics, resumed_step=step), *loggers],
                callbacks=[
                    *_own_callbacks(settings, run, module),
                    results,
                    *callbacks,
                    Performance(),
                ],
            )
            trainer.fit(module, datamodule=datamodule, ckpt_path=resumed, weights_only=True)
            return _test_best(trainer, module, datamodule, results, run)
    except PreemptedError as asked:
        requeue(asked.signum)  # last of all: from here on the scheduler may end this process
        raise


def _own_callbacks(settings: Settings, run: Run, module: TaskModule) -> list[Callback]:
    def drawn(shown: Shown) -> Image:
        return draw_prediction(shown.image, shown.target, shown.prediction, module.classes)

    pictures = PredictionPictures(
        run.folder / "predictions",
        drawn,
        count=settings.pictures.count,
        every_n_epochs=settings.pictures.every_n_epochs,
    )
    return [
        *step_callbacks(settings),
        pictures,
        Curves(run),
        Preemption(run.last),
        CheckpointContents(settings, module.classes),
        *checkpoint_callbacks(settings, run, monitor=MONITOR, mode=METRICS[MONITOR]),
    ]


def _test_best(
    trainer: Trainer,
    module: TaskModule,
    datamodule: DataModule,
    results: EvaluationResults,
    run: Run,
) -> dict[str, float]:
    metrics = trainer.test(
        module, datamodule=datamodule, ckpt_path=run.best, weights_only=True, verbose=False
    )[0]
    if trainer.is_global_zero:
        write_report(
            run,
            dict(metrics),
            results,
            module.scores_by_class(),
            datamodule=datamodule,
            draw=draw_prediction,
        )
        print_summary(run, dict(metrics))
    return dict(metrics)
