"""Record the lineage data -> run -> model -> predictions as artifacts of a run."""

from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import Datasets
from ..data.files import files_below, folder_of
from ..run.folder import Run
from ..settings.tree import EvaluateSettings, PredictSettings, Settings
from .artifacts import log_files
from .logger import RunLogger
from .provenance import fingerprint
from .registry import SOURCE
from .sync import PENDING, postpone
from .tables import data_table

MAX_REFERENCES = 100_000  # larger data sets are identified by their fingerprint alone


class DataLineage(Callback):
    """Log the data set as an artifact that the run uses."""

    def __init__(self, logger: RunLogger, settings: Settings) -> None:
        self.logger = logger
        self.settings = settings

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the data set, once for all stages."""
        if "data" not in self.logger.model_metadata:
            with self.logger.guarded("logging the data"):
                log_data(self.logger, self.settings, cast("Any", trainer).datamodule.datasets)


def log_data(logger: RunLogger, settings: Settings, datasets: Datasets) -> None:
    """Record the version of the data set, and log it as an artifact that the run uses.

    The artifact is ``data-<name>`` with a version for each fingerprint. A version that is on the
    server already is only referred to.
    """
    root = folder_of(settings.data.root)
    run, name = logger.experiment, f"data-{settings.data.name}"
    version = fingerprint(root)
    run.config.update({"data_fingerprint": version})
    logger.model_metadata["data"] = version
    if logger.tracking.log_data is None:
        return
    if not logger.offline:
        known = f"{run.entity}/{run.project}/{name}:{version}"
        if logger.wandb.Api().artifact_exists(known, "dataset"):
            run.use_artifact(known)
            return
    metadata = {"fingerprint": version, "root": str(root), "classes": list(datasets.classes)}
    artifact = logger.wandb.Artifact(name, "dataset", metadata=metadata)
    if logger.tracking.log_data == "content":
        artifact.add_dir(str(root))
    elif sum(1 for _ in files_below(root)) <= MAX_REFERENCES:
        # Checksums would read every image; the fingerprint replaces them.
        uri = root.absolute().as_uri()
        artifact.add_reference(uri, checksum=False, max_objects=MAX_REFERENCES)
    with artifact.new_file("fingerprint.txt") as file:
        file.write(f"{version}\n")
    if logger.tracking.tables.data:
        artifact.add(data_table(logger, datasets, root), "samples")
    if logger.offline:
        run.log_artifact(artifact, aliases=[version])
        postpone(logger.run, {"action": "use", "artifact": f"{name}:{version}"})
    else:
        run.use_artifact(artifact, aliases=[version])


def log_checkpoint_source(logger: RunLogger, settings: Settings) -> None:
    """Record the artifact or the run that the checkpoint of ``evaluate`` or ``predict`` is from."""
    if not isinstance(settings, EvaluateSettings | PredictSettings):
        return
    source = settings.checkpoint.with_name(SOURCE)
    with logger.guarded("recording the checkpoint"):
        if source.is_file():
            name = source.read_text(encoding="utf-8").strip()
            logger.experiment.config.update({"checkpoint_artifact": name})
            if logger.offline:
                postpone(logger.run, {"action": "use", "artifact": name})
            else:
                logger.experiment.use_artifact(name)
        else:
            trained = Run(settings.checkpoint.absolute().parent.parent)
            if trained.settings_file.is_file():
                logger.experiment.config.update({"trained_in": trained.id})


def log_predictions(logger: RunLogger) -> None:
    """Log the tables that ``predict`` has written as one artifact."""
    written = sorted(logger.run.folder.iterdir())
    tables = [path for path in written if path.suffix in {".csv", ".json"}]
    tables = [path for path in tables if path.name not in {"environment.json", PENDING}]
    with logger.guarded("logging the predictions"):
        log_files(logger, "predictions", f"predictions-{logger.run.id}", tables)
