"""Record what a run is made from, and the lineage data -> run -> model -> predictions."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import Datasets
from ..data.files import folder_of
from ..run.folder import Run
from ..settings.schema import Settings
from .artifacts import log_files
from .logger import RunLogger
from .pending import PENDING, postpone
from .registry import DATA, SOURCE, data_artifact, fingerprint, use_data
from .tables import data_table


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

    The artifact is ``data-<name>``, and the fingerprint of the data is the alias of a version. If
    the server is lost, ``wandb-sync`` logs the version later, without samples.
    """
    root = folder_of(settings.data.root)
    run, name, data_id = logger.experiment, f"data-{settings.data.name}", fingerprint(root)
    # A resumed run may have other data than before.
    run.config.update({"data_fingerprint": data_id}, allow_val_change=True)
    logger.model_metadata["data"] = data_id
    source = root.parent / SOURCE
    if root.name == DATA and source.is_file():
        use(logger, source.read_text(encoding="utf-8").strip())
        return
    if logger.tracking.log_data is None:
        return
    facts = {
        "fingerprint": data_id,
        "log_data": logger.tracking.log_data,
        "root": str(root.absolute()),
        "file": str(settings.data.root.relative_to(root)),
        "classes": list(datasets.classes),
    }
    samples = partial(data_table, logger, datasets, root) if logger.tracking.tables.data else None
    if logger.offline:
        run.log_artifact(data_artifact(name, facts, samples), aliases=[data_id])
        postpone(logger.run, {"action": "use", "artifact": f"{name}:{data_id}"})
        return
    # It has no digest to look for at the end of the run, since ``use_data`` waits for the server.
    action = {"action": "data", "artifact": name, "facts": facts, "digest": None}
    try:
        use_data(run, name, facts, samples)
    except Exception:
        postpone(logger.run, action)
        raise
    logger.artifacts.append(action)


def use(logger: RunLogger, name: str) -> None:
    """Record that the run uses an artifact; without a server, ``wandb-sync`` records it later."""
    action = {"action": "use", "artifact": name}
    if logger.offline:
        postpone(logger.run, action)
        return
    try:
        logger.experiment.use_artifact(name)
    except Exception:
        postpone(logger.run, action)
        raise


def log_checkpoint_source(logger: RunLogger, settings: Settings) -> None:
    """Record the artifact or the run that ``checkpoint`` or ``init`` is from."""
    given = getattr(settings, "checkpoint", settings.init)
    if not given:
        return
    checkpoint = Path(given)
    source = checkpoint.with_name(SOURCE)
    with logger.guarded("recording the checkpoint"):
        if source.is_file():
            name = source.read_text(encoding="utf-8").strip()
            logger.experiment.config.update({"checkpoint_artifact": name})
            use(logger, name)
        else:
            trained = Run(checkpoint.absolute().parent.parent)
            if trained.settings_file.is_file():
                logger.experiment.config.update({"trained_in": trained.id})


def log_predictions(logger: RunLogger, folder: Path) -> None:
    """Log the tables that ``predict`` has written into a folder as one artifact."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in {".csv", ".json"}]
    tables = [path for path in files if path.name not in {"environment.json", PENDING}]
    with logger.guarded("logging the predictions"):
        if folder.resolve() != logger.run.folder.resolve():  # wandb-sync reads the run folder only
            tables = [Path(shutil.copy2(path, logger.run.folder)) for path in tables]
        if tables:
            log_files(logger, "predictions", f"predictions-{logger.run.id}", tables, [], {})
