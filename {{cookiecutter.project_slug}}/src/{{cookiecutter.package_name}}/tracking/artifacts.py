"""Models as versioned artifacts: ``model-<run id>``, with ``best.ckpt`` or ``last.ckpt`` in it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from ..errors import UsageError
from ..run.files import write_json, write_text
from ..run.folder import Run
from ..task import MONITOR
from . import client
from .client import Tracked
from .facts import config_hash

PREFIX = "wandb:"
SOURCE = "artifact.txt"  # beside a fetched checkpoint: which artifact it comes from
FACTS = "best.json"  # beside best.ckpt: what its artifact is told


def model_name(run_id: str) -> str:
    """The artifact of a run's models."""
    return f"model-{run_id}"


class ModelArtifacts(Callback):
    """Log the best checkpoint at the end, however training ends, and on request in between."""

    def __init__(self, tracked: Tracked, config: dict[str, Any]) -> None:
        self.tracked = tracked
        self.config = config
        self._logged: dict[str, str] = {}
        self._newest: Any = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Every k epochs, if there is a better one; it was written after the validation."""
        every = self.tracked.tracking.log_model_every_n_epochs
        if every and (trainer.current_epoch + 1) % every == 0:
            self._log_best(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The best, the last on request, and no more versions than wanted."""
        self._log_all(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """What was reached is kept, too."""
        self._log_all(trainer)

    def _log_all(self, trainer: Trainer) -> None:
        if self.tracked.tracking.log_model is None:
            return
        self._log_best(trainer)
        if self.tracked.tracking.log_model == "all":
            self._log(self.tracked.folder.last, "last", trainer, None)
        if self.tracked.tracking.prune_models:
            self._prune()

    def _log_best(self, trainer: Trainer) -> None:
        scores = [
            callback.best_model_score
            for callback in cast("Any", trainer).callbacks
            if isinstance(callback, ModelCheckpoint) and callback.monitor == MONITOR
        ]
        score = None if not scores or scores[0] is None else float(scores[0])
        self._log(self.tracked.folder.best, "best", trainer, score)

    def _log(self, path: Path, alias: str, trainer: Trainer, score: float | None) -> None:
        if self.tracked.tracking.log_model is None or not path.is_file():
            return
        with self.tracked.guarded("logging the model"):
            digest = _digest(path)
            if self._logged.get(alias) == digest:
                return  # no better since
            self._logged[alias] = digest
            facts = {
                "run": self.tracked.folder.id,
                "epoch": trainer.current_epoch,
                "config_hash": config_hash(self.config),
                "data": self.config.get("data_fingerprint"),
                "git_commit": self.config["git"]["commit"],
            } | ({} if score is None else {MONITOR: score})
            if alias == "best":
                write_json(path.with_name(FACTS), facts)
            name = model_name(self.tracked.folder.id)
            self._newest = log_files(
                self.tracked, "model", name, [path], aliases=[alias], facts=facts
            )

    def _prune(self) -> None:
        if self.tracked.offline or self._newest is None:
            return
        run = self.tracked.run
        name = f"{run.entity}/{run.project}/{model_name(self.tracked.folder.id)}"
        with self.tracked.guarded("deleting old models"):
            self._newest.wait(timeout=self.tracked.tracking.finish_timeout)
            for version in self.tracked.wandb.Api().artifacts("model", name):
                if not version.aliases:
                    version.delete()


def log_files(
    tracked: Tracked,
    kind: str,
    name: str,
    files: Sequence[Path],
    *,
    aliases: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> Any:
    """Log files as an artifact, and remember them until it is known that they arrived.

    Args:
        tracked: the open run.
        kind: the artifact's type.
        name: the artifact's name.
        files: their names in the artifact are those without folders.
        aliases: names of the version, beside ``latest``.
        facts: the version's metadata.
    """
    artifact = tracked.wandb.Artifact(name, kind, metadata=dict(facts or {}))
    for path in files:
        artifact.add_file(str(path), name=path.name)
    tracked.logged.append(
        {
            "action": "log",
            "kind": kind,
            "artifact": name,
            "files": [str(path.relative_to(tracked.folder.folder)) for path in files],
            "aliases": list(aliases),
            "facts": dict(facts or {}),
        }
    )
    return tracked.run.log_artifact(artifact, aliases=list(aliases) or None)


def log_again(run: Run, tracking: Any, action: Mapping[str, Any]) -> None:
    """Log what a server that was lost did not get; what it has is no new version.

    Args:
        run: whose run it belongs to.
        tracking: the settings, which bring project and entity.
        action: what ``log_files`` remembered.
    """
    wandb = client.package()
    api_run = client.public_api(tracking).run(f"{tracking.project}/{run.id}")
    code = {"finished": 0}.get(api_run.state, 1)
    own = wandb.init(
        entity=api_run.entity,
        project=api_run.project,
        id=run.id,
        resume="must",
        dir=run.folder / "wandb" / "data",
        settings=wandb.Settings(silent=True),
    )
    artifact = wandb.Artifact(action["artifact"], action["kind"], metadata=dict(action["facts"]))
    for name in action["files"]:
        artifact.add_file(str(run.folder / name), name=Path(name).name)
    own.log_artifact(artifact, aliases=list(action["aliases"]) or None).wait()
    own.finish(exit_code=code)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_checkpoint(wanted: str, tracking: Any) -> Path:
    """Download the checkpoint of ``wandb:<artifact>:<alias>`` into ``artifacts/``.

    Args:
        wanted: an artifact's name, with or without entity and project, or one in a registry.
        tracking: the settings, which bring project and entity where the name has none.

    Raises:
        UsageError: if there is no such artifact, or it cannot be reached.
    """
    if not client.installed():
        raise UsageError(f"checkpoint={wanted}: wandb is not installed. Install it: uv sync")
    name = wanted.removeprefix(PREFIX)
    try:
        artifact = client.public_api(tracking).artifact(name)
        target = Path("artifacts") / f"{artifact.collection.name}-{artifact.version}"
        artifact.download(str(target))
    except Exception as error:  # the package raises many kinds, ValueError among them
        raise UsageError(
            f"checkpoint={wanted} cannot be fetched: {client.reason(error)}\n"
            "Name it as wandb:<artifact>:<alias> or wandb:<entity>/<project>/<artifact>:<alias>, "
            "and log in: uv run wandb login"
        ) from error
    checkpoints = sorted(target.glob("*.ckpt"))
    if not checkpoints:
        raise UsageError(f"checkpoint={wanted}: the artifact has no *.ckpt file.")
    write_text(target / SOURCE, f"{artifact.source_qualified_name}\n")
    return checkpoints[0]
