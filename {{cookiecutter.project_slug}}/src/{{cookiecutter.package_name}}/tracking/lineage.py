"""Record what a run is made from, and the lineage data -> run -> model -> predictions."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import build_datasets
# ~ endif
from ..data.datamodule import Datasets
from ..data.files import files_below, folder_of
# ~ if cookiecutter.task == "detection"
from ..detection.dataset import build_datasets
# ~ endif
from ..errors import UsageError
from ..run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.dataset import build_datasets
# ~ endif
from ..settings.check_settings import check
from ..settings.schema import Settings
from ..settings.stored_settings import completed
from ..settings.tracking import split_trackers
from .artifacts import log_files
from .client import package, say, within
from .logger import RunLogger
from .pending import PENDING, postpone
from .registry import DATA, SOURCE, fingerprint
from .settings import WandbSettings
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

    The artifact is ``data-<name>``, and the fingerprint of the data is the alias of a version. A
    version that is on the server already is only referred to. If the server is lost,
    ``wandb-sync`` logs it later.
    """
    root = folder_of(settings.data.root)
    run, name, data_id = logger.experiment, f"data-{settings.data.name}", fingerprint(root)
    # A resumed run may have other data than before.
    run.config.update({"data_fingerprint": data_id}, allow_val_change=True)
    logger.model_metadata["data"] = data_id
    source = root.parent / SOURCE
    if root.name == DATA and source.is_file():
        use(logger, source.read_text(encoding="utf-8").strip())
    elif logger.tracking.log_data is not None and logger.offline:
        run.log_artifact(_data_artifact(logger, settings, datasets, data_id), aliases=[data_id])
        postpone(logger.run, {"action": "use", "artifact": f"{name}:{data_id}"})
    elif logger.tracking.log_data is not None:
        action = {"action": "data", "artifact": name, "version": data_id, "digest": None}
        try:
            known = f"{run.entity}/{run.project}/{name}:{data_id}"
            if logger.wandb.Api().artifact_exists(known, "dataset"):
                run.use_artifact(known)
            else:
                artifact = _data_artifact(logger, settings, datasets, data_id)
                action["digest"] = artifact.digest
                try:  # W&B itself would wait for the upload
                    within(
                        logger.tracking.init_timeout,
                        lambda: run.use_artifact(artifact, aliases=[data_id]),
                    )
                except TimeoutError:
                    say(f"W&B: {name} is not uploaded yet; the command goes on meanwhile.")
        except Exception:
            postpone(logger.run, action)
            raise
        logger.artifacts.append(action)


def _data_artifact(logger: RunLogger, settings: Settings, datasets: Datasets, data_id: str) -> Any:
    """Return the artifact of a data set: its files or references to them, and some samples."""
    root = folder_of(settings.data.root)
    metadata = {
        "fingerprint": data_id,
        "log_data": logger.tracking.log_data,
        "root": str(root.absolute()),
        "file": str(settings.data.root.relative_to(root)),
        "classes": list(datasets.classes),
    }
    artifact = logger.wandb.Artifact(f"data-{settings.data.name}", "dataset", metadata=metadata)
    if logger.tracking.log_data == "content":
        for path in files_below(root):  # ``add_dir`` would add hidden files, too, and no links
            artifact.add_file(path, name=f"{DATA}/{Path(path).relative_to(root).as_posix()}")
    elif len(files_below(root)) <= MAX_REFERENCES:
        # Checksums would read every image; the fingerprint replaces them.
        uri = root.absolute().as_uri()
        artifact.add_reference(uri, name=DATA, checksum=False, max_objects=MAX_REFERENCES)
    with artifact.new_file("fingerprint.txt") as file:
        file.write(f"{data_id}\n")
    if logger.tracking.tables.data:
        table = data_table(logger, datasets, root, settings.data.pixels)
        artifact.add(table, "samples")
    return artifact


def log_data_later(run: Run, resumed: Any, data_id: str) -> None:
    """Log the data set of a run that had lost its connection, into the W&B run ``resumed``."""
    settings = check(completed(run.settings, Settings, source=None), Settings)
    if fingerprint(folder_of(settings.data.root)) != data_id:
        raise UsageError(f"{settings.data.root} has changed since the run")
    tracking = WandbSettings.model_validate(split_trackers(settings.tracking or {})["tracking"])
    logger: Any = SimpleNamespace(run=run, experiment=resumed, wandb=package(), tracking=tracking)
    logger.offline, logger.model_metadata, logger.artifacts = False, {}, []
    log_data(logger, settings, build_datasets(settings.data))


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
    files = {*folder.glob("*.csv"), *folder.glob("*.json")}
    tables = sorted(files - {folder / "environment.json", folder / PENDING})
    with logger.guarded("logging the predictions"):
        if folder.resolve() != logger.run.folder.resolve():  # wandb-sync reads the run folder only
            tables = [Path(shutil.copy2(path, logger.run.folder)) for path in tables]
        if tables:
            log_files(logger, "predictions", f"predictions-{logger.run.id}", tables, [], {})
