"""Test a checkpoint on a split of the data and write the report."""

from dataclasses import replace

# ~ if cookiecutter.task == "classification"
from .classification.draw import draw_prediction
# ~ endif
from .data.datamodule import DataModule
from .data.reading_summary import report_reading
# ~ if cookiecutter.task == "detection"
from .detection.draw import draw_prediction
# ~ endif
from .evaluation.report import print_summary, write_report
from .evaluation.score_counts import EvaluationResults
# ~ if cookiecutter.scope == "complete"
from .evaluation.tta import apply_tta
from .export.onnx_model import load_module
from .inference.load_model import matching_datasets
# ~ else
from .inference.load_model import load_module, matching_datasets
# ~ endif
from .run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from .segmentation.draw import draw_prediction
# ~ endif
from .settings.schema import EvaluateSettings
from .training.metrics_file import MetricsFile
from .training.open_trackers import open_trackers
from .training.trainer import build_trainer


def run_evaluation(settings: EvaluateSettings, run: Run) -> None:
    """Test the checkpoint on ``settings.split``, and write the report."""
    module = load_module(settings.checkpoint, settings)
    # ~ if cookiecutter.scope == "complete"
    apply_tta(module, settings.tta)
    # ~ endif
    datasets = matching_datasets(settings, module.classes, settings.checkpoint)
    report_reading(datasets.reading, run)
    # The training split is tested like the other splits: in order, without random transforms.
    chosen = getattr(datasets, settings.split)
    chosen.transform = datasets.test.transform
    datamodule = DataModule(
        replace(datasets, test=chosen),
        settings.loader,
        skip_unreadable=settings.data.skip_unreadable,
    )
    results = EvaluationResults()
    module.tested_split = settings.split
    with open_trackers(settings, run, job="evaluate") as (loggers, callbacks):
        trainer = build_trainer(
            settings,
            run,
            loggers=[MetricsFile(run.metrics), *loggers],
            callbacks=[results, *callbacks],
        )
        (metrics,) = trainer.test(module, datamodule=datamodule, verbose=False)
        datamodule.share_unreadable()
        if trainer.is_global_zero:
            scores = module.scores_by_class()
            write_report(run, metrics, results, scores, datamodule, draw_prediction)
            print_summary(run, metrics)
