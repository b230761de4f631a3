"""Log data, models and predictions as W&B artifacts, and what a run is made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..data.datamodule import Datasets
from ..data.files import files_below, folder_of
from ..settings.schema import Settings
from ..training.checkpoint import read_checkpoint
from .logger import RunLogger
from .registry import DATA, PENDING, SOURCE, fingerprint, postpone
from .tables import data_table


class Lineage(Callback):
    """Log the data of a run, and its checkpoints as versions of the artifact ``model-<run id>``."""

    def __init__(self, logger: RunLogger, settings: Settings) -> None:
        self.logger = logger
        self.settings = settings
        self.has_data = False
        self.logged: set[Path] = set()  # checkpoints

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the data set, once for all stages."""
        if not self.has_data:
            self.has_data = True
            datasets, settings = cast("Any", trainer).datamodule.datasets, self.settings
            self.logger.log_lasting(
                "logging the data", lambda logger: log_data(logger, settings, datasets)
            )

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """With ``log_model=all``, log the checkpoints that ``trainer.save_top_k`` keeps.

        Lightning has saved them after the hooks of a validation.
        """
        saved = cast("ModelCheckpoint", trainer.checkpoint_callback)
        for path in saved.best_k_models if self.logger.tracking.log_model == "all" else []:
            # Before a resume, the folder of the run may have been elsewhere.
            kept = self.logger.run.best.parent / Path(path).name
            self._log(kept, ["best"] if path == saved.best_model_path else [])

    def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
        """Log the checkpoints of a training run that has ended."""
        self.on_train_batch_start(trainer)
        if self.logger.tracking.log_model == "best":
            self._log(self.logger.run.best, ["best"])
        if self.logger.tracking.log_model == "all":
            self._log(self.logger.run.last, ["last"])

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        """Log the checkpoints of a training run that fails."""
        self.on_fit_end(trainer)

    def _log(self, path: Path, aliases: list[str]) -> None:
        def log(logger: RunLogger) -> None:
            if path.is_file():  # a replaced one cannot be logged again
                checkpoint, config = read_checkpoint(path), logger.experiment.config
                metadata = {"epoch": checkpoint["epoch"], "data": config.get("data_fingerprint")}
                metadata |= checkpoint.get("scores", {})
                files = [file for file in (path, logger.run.split) if file.is_file()]
                log_files(logger, "model", files, aliases=aliases, metadata=metadata)

        if path not in self.logged and path.is_file():
            self.logged.add(path)
            self.logger.log_lasting("logging the model", log)


def log_data(logger: RunLogger, settings: Settings, datasets: Datasets) -> None:
    """Record the version of the data set, and log it as an artifact that the run uses.

    The artifact is ``data-<name>``, and the fingerprint of the data is the alias of a version. A
    version that is on the server already is only referred to.
    """
    root = folder_of(settings.data.root)
    run, data_id, source = logger.experiment, fingerprint(root), root.parent / SOURCE
    # A resumed run may have other data than before.
    run.config.update({"data_fingerprint": data_id}, allow_val_change=True)
    if root.name == DATA and source.is_file():
        use(logger, source)
    elif logger.tracking.log_data is not None:
        known = f"data-{settings.data.name}:{data_id}"
        path = f"{run.entity}/{run.project}/{known}"
        if not logger.offline and logger.wandb.Api().artifact_exists(path, "dataset"):
            run.use_artifact(path)
            return
        artifact = _data_artifact(logger, settings, datasets, data_id)
        logger.digests.add(artifact.digest)
        run.log_artifact(artifact, aliases=[data_id])
        # ``use_artifact`` would wait for the upload.
        postpone(logger.run, {"action": "use", "artifact": known})


def _data_artifact(logger: RunLogger, settings: Settings, datasets: Datasets, data_id: str) -> Any:
    """Return the artifact of a data set: its files or references to them, and some samples."""
    root, kind = folder_of(settings.data.root), logger.tracking.log_data
    metadata = {"fingerprint": data_id, "log_data": kind, "root": str(root.absolute())}
    metadata["file"] = str(settings.data.root.relative_to(root))
    artifact = logger.wandb.Artifact(f"data-{settings.data.name}", "dataset", metadata=metadata)
    # ``add_dir`` would add hidden files, too, and no links.
    for path in files_below(root) if kind == "content" else []:
        artifact.add_file(path, name=f"{DATA}/{Path(path).relative_to(root).as_posix()}")
    if kind == "reference":  # checksums would read every image; the fingerprint replaces them
        artifact.add_reference(root.absolute().as_uri(), name=DATA, checksum=False)
    with artifact.new_file("fingerprint.txt") as file:
        file.write(f"{data_id}\n")
    if logger.tracking.media.images:
        artifact.add(data_table(logger, datasets, root, settings.data.pixels), "samples")
    return artifact


def log_checkpoint_source(logger: RunLogger, settings: Settings) -> None:
    """Record the artifact that ``checkpoint`` or ``init`` is from, if it is from one."""
    given = getattr(settings, "checkpoint", settings.init)
    if given and Path(given).with_name(SOURCE).is_file():
        use(logger, Path(given).with_name(SOURCE))


def use(logger: RunLogger, source: Path) -> None:
    """Record that the run uses an artifact; without a server, ``wandb-sync`` records it later."""
    name = source.read_text(encoding="utf-8").strip()
    if logger.offline:
        postpone(logger.run, {"action": "use", "artifact": name})
    else:
        logger.experiment.use_artifact(name)


def log_predictions(logger: RunLogger, folder: Path) -> None:
    """Log the tables that ``predict`` has written into a folder as one artifact."""
    files = {*folder.glob("*.csv"), *folder.glob("*.json")}
    tables = sorted(files - {folder / "environment.json", folder / PENDING})
    if tables:  # none with save=pictures
        logger.log_lasting(
            "logging the predictions", lambda logger: log_files(logger, "predictions", tables)
        )


def log_files(
    logger: RunLogger,
    kind: str,
    files: list[Path],
    aliases: Sequence[str] = (),
    metadata: dict[str, Any] | None = None,
) -> None:
    """Log files as a version of the W&B artifact ``<kind>-<run id>``."""
    artifact = logger.wandb.Artifact(f"{kind}-{logger.run.id}", kind, metadata=metadata)
    for path in files:
        artifact.add_file(str(path), name=path.name)
    logger.digests.add(artifact.digest)
    logger.experiment.log_artifact(artifact, aliases=[*aliases])
