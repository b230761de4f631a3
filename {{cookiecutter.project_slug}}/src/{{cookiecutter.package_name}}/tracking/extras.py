"""Log the data set, the model, tables, animations and alerts during a W&B run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from ..settings.tree import Settings
from .alerts import MetricAlerts, alert_failure, send_alert
from .artifacts import log_model
from .clips import log_animation, log_drawn_predictions
from .embeddings import EmbeddingCloud
from .facts import log_changes
from .lineage import log_checkpoint_source, log_data, log_predictions
from .logger import RunLogger
from .tables import EvaluationTables

WATCH_STEPS = 100


@contextmanager
def extras(logger: RunLogger, settings: Settings, job: str) -> Iterator[list[Callback]]:
    """Yield callbacks for a job; log its sources when it starts and its results when it ends.

    Args:
        logger: the logger of the open run.
        settings: the settings of the command.
        job: ``train``, ``evaluate`` or ``predict``.
    """
    log_changes(logger)
    log_checkpoint_source(logger, settings)
    tables = EvaluationTables(logger, settings.data.root)
    try:
        yield [] if job == "predict" else [Extras(logger, settings), EmbeddingCloud(logger), tables]
    except Exception as error:
        alert_failure(logger, error)
        raise
    if job == "predict":
        log_drawn_predictions(logger)
        log_predictions(logger)
    if logger.tracking.alerts.finished:
        send_alert(logger, "Run finished", logger.run.id, "INFO")


class Extras(Callback):
    """Log the data set, the size and further versions of the model, an animation and alerts."""

    def __init__(self, logger: RunLogger, settings: Settings) -> None:
        self.logger = logger
        self.settings = settings
        self.alerts = MetricAlerts(logger)
        self.has_data = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the data set, once for all stages."""
        if not self.has_data:
            self.has_data = True
            with self.logger.guarded("logging the data"):
                log_data(self.logger, self.settings, cast("Any", trainer).datamodule.datasets)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the size of the model; with ``tracking.watch``, also its weights or gradients."""
        run, watched = self.logger.experiment, self.logger.tracking.watch
        with self.logger.guarded("describing the model"):
            size = ModelSummary(pl_module)
            numbers = {"parameters": size.total_parameters, "trainable": size.trainable_parameters}
            run.config.update({"model_size": numbers | {"megabytes": round(size.model_size, 3)}})
            if watched:
                run.watch(pl_module, log=watched, log_freq=WATCH_STEPS, log_graph=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the alerts that the metrics of this validation cause."""
        if not trainer.sanity_checking:
            self.alerts.check(trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a new best checkpoint every ``tracking.log_model_every_n_epochs`` epochs."""
        every = self.logger.tracking.log_model_every_n_epochs
        if every and (trainer.current_epoch + 1) % every == 0:
            log_model(self.logger, self.logger.run.best, "best")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last checkpoint and the animation; delete old versions if the settings say so."""
        self._log_last()
        log_animation(self.logger, trainer.global_step)
        tracking = self.logger.tracking
        if tracking.prune_models and not self.logger.offline:
            with self.logger.guarded("deleting old models"):
                self._prune()
        if tracking.watch:
            with self.logger.guarded("ending to watch the model"):
                self.logger.experiment.unwatch(pl_module)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Log the last checkpoint of a failed training."""
        self._log_last()

    def _log_last(self) -> None:
        if self.logger.tracking.log_model == "all":
            log_model(self.logger, self.logger.run.last, "last")

    def _prune(self) -> None:
        """Delete the versions of this run's model that have no alias."""
        for _, version in self.logger.models.values():  # aliases move when the upload has ended
            version.wait(timeout=self.logger.tracking.finish_timeout)
        run = self.logger.experiment
        name = f"{run.entity}/{run.project}/model-{self.logger.run.id}"
        for version in self.logger.wandb.Api().artifacts("model", name):
            if not version.aliases:
                version.delete()
