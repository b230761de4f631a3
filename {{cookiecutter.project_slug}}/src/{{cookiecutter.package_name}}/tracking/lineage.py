"""What a run was made from and what it made: data -> run -> model -> predictions.

A data set's artifact is ``data-<name>``, one version for each fingerprint.
"""

from typing import cast

from lightning.pytorch import Callback, LightningModule, Trainer

from ..data.datamodule import DataModule, Datasets
from ..data.images import files_below
from ..run.folder import Run
from ..settings.tree import EvaluateSettings, PredictSettings, Settings
from .artifacts import SOURCE, log_files
from .client import Tracked
from .pending import FILE, postpone
from .tables import data_table

MOST_FILES = 100_000  # to name one by one: beyond, the folder's fingerprint has to do


class DataLineage(Callback):
    """Log the data that a training or an evaluation reads."""

    def __init__(self, tracked: Tracked, settings: Settings, version: str | None) -> None:
        self.tracked = tracked
        self.settings = settings
        self.version = version

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Once, before the first step."""
        version, self.version = self.version, None
        if version and self.settings.tracking and self.settings.tracking.log_data:
            datasets = cast("DataModule", trainer.datamodule).datasets  # type: ignore[attr-defined]
            log_data(self.tracked, self.settings, datasets, version)


def log_data(tracked: Tracked, settings: Settings, datasets: Datasets, version: str) -> None:
    """Log the data set, once for each version of it, as what this run has used."""
    root = settings.data.root
    with tracked.guarded("logging the data"):
        name = f"data-{settings.data.name}"
        run = tracked.run
        if not tracked.offline:
            known = f"{run.entity}/{run.project}/{name}:{version}"
            if tracked.wandb.Api().artifact_exists(known, "dataset"):
                run.use_artifact(known)
                return
        facts = {"fingerprint": version, "root": str(root), "classes": list(datasets.classes)}
        artifact = tracked.wandb.Artifact(name, "dataset", metadata=facts)
        if tracked.tracking.log_data == "content":
            artifact.add_dir(str(root))
        elif sum(1 for _ in files_below(root)) <= MOST_FILES:
            # Without checksums, which would read every image; the fingerprint stands for them.
            uri = root.absolute().as_uri()
            artifact.add_reference(uri, checksum=False, max_objects=MOST_FILES)
        with artifact.new_file("fingerprint.txt") as file:
            file.write(f"{version}\n")
        if tracked.tracking.tables.data:
            artifact.add(data_table(tracked, datasets, root), "samples")
        if tracked.offline:
            run.log_artifact(artifact, aliases=[version])
            postpone(tracked.folder, {"action": "use", "artifact": f"{name}:{version}"})
        else:
            run.use_artifact(artifact, aliases=[version])


def use_checkpoint(tracked: Tracked, settings: Settings) -> None:
    """Note which run, or which artifact, the checkpoint at work comes from."""
    if not isinstance(settings, EvaluateSettings | PredictSettings):
        return
    source = settings.checkpoint.with_name(SOURCE)
    with tracked.guarded("noting the checkpoint"):
        if not source.is_file():
            trained = settings.checkpoint.absolute().parent.parent
            if Run(trained).settings_file.is_file():
                tracked.run.config.update({"trained_in": trained.name})
            return
        name = source.read_text(encoding="utf-8").strip()
        tracked.run.config.update({"checkpoint_artifact": name})
        if tracked.offline:
            postpone(tracked.folder, {"action": "use", "artifact": name})
        else:
            tracked.run.use_artifact(name)


def log_predictions(tracked: Tracked, run: Run) -> None:
    """Log the tables that predict has written, as one artifact."""
    with tracked.guarded("logging the predictions"):
        written = [
            path for path in sorted(run.folder.iterdir()) if path.suffix in {".json", ".csv"}
        ]
        tables = [path for path in written if path.name not in {"environment.json", FILE}]
        log_files(tracked, "predictions", f"predictions-{run.id}", tables)
