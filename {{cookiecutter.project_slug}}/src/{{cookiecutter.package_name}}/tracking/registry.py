"""Download checkpoints and data sets from the W&B server, and link models into its registry."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..data.files import files_below
from ..errors import UsageError
from ..run.atomic_files import write_json, write_text
from ..run.folder import Run
from ..run.lock import file_lock
from ..settings.schema import METRICS, MONITOR, monitored
from .client import public_api, reason

PREFIX = "wandb:"
FETCHED = Path("artifacts")  # the folder of fetched artifacts
SOURCE = "artifact.txt"  # in the folder of a fetched artifact: its name
DATA = "data"  # in the folder of a fetched data set, and in its artifact: the data themselves
PENDING = "wandb-pending.json"  # in a run folder: the actions that need a server
ANNOTATIONS = {".json", ".txt", ".yaml", ".yml", ".csv"}


def fetch_checkpoint(
    wanted: str, tracking: Mapping[str, Any] | None, *, setting: str = "checkpoint"
) -> Path:
    """Download the checkpoint ``wandb:<artifact>:<alias>`` unless it is here; return its path.

    The name of the artifact may begin with entity and project, or with a registry.
    """
    folder, _ = _fetch(wanted, tracking, setting, lambda artifact, to: artifact.download(str(to)))
    checkpoints = sorted(folder.glob("*.ckpt"))
    if not checkpoints:
        raise UsageError(f"{setting}={wanted}: the artifact has no *.ckpt file.")
    return checkpoints[0]


def fetch_data(wanted: str, tracking: Mapping[str, Any] | None) -> Path:
    """Download the data set ``wandb:<artifact>:<alias>`` unless it is here; return its root."""
    folder, facts = _fetch(wanted, tracking, "data.root", _download_data)
    found = fingerprint(folder / DATA)
    if facts.get("fingerprint", found) != found:
        raise UsageError(
            f"data.root={wanted}: {folder / DATA} has changed since it was fetched.\n"
            f"Remove {folder} to fetch it again, or log the changed data as a new version."
        )
    return folder / DATA / str(facts.get("file", ""))


def _fetch(
    wanted: str,
    tracking: Mapping[str, Any] | None,
    setting: str,
    download: Callable[[Any, Path], None],
) -> tuple[Path, dict[str, Any]]:
    """Return the folder below ``artifacts/`` with the files of an artifact, and its metadata."""
    try:
        artifact = public_api(tracking).artifact(wanted.removeprefix(PREFIX))
        # Artifacts of other projects may have the same name; their files must not be mixed.
        parts = artifact.collection.name, artifact.version, artifact.digest[:8]
        folder = FETCHED / "-".join(parts)
        folder.mkdir(parents=True, exist_ok=True)
        # The other processes of the same training wait until the first has downloaded all.
        with file_lock(folder.with_name(f"{folder.name}.lock")):
            if not (folder / SOURCE).is_file():
                download(artifact, folder)
                write_text(folder / SOURCE, f"{artifact.source_qualified_name}\n")
        return folder, dict(artifact.metadata)
    except UsageError as error:
        raise UsageError(f"{setting}={wanted}: {error}") from error
    except Exception as error:  # wandb raises many kinds, ValueError among them
        raise UsageError(
            f"{setting}={wanted} cannot be fetched: {reason(error)}\n"
            "Name it wandb:<entity>/<project>/<artifact>:<alias>, and log in: uv run wandb login"
        ) from error


def _download_data(artifact: Any, folder: Path) -> None:
    """Download a data set into ``folder/data``, or link to it if it was logged by reference."""
    facts, data = artifact.metadata, folder / DATA
    if facts.get("log_data") != "reference":
        has_folder = any(name.startswith(f"{DATA}/") for name in artifact.manifest.entries)
        artifact.download(str(folder if has_folder else data))
        return
    original = Path(facts["root"])
    if not original.is_dir() or fingerprint(original) != facts["fingerprint"]:
        raise UsageError(
            f"the artifact refers to {original}, which is not on this machine or has changed.\n"
            "Log the data set with its files, where it is: tracking.log_data=content"
        )
    data.unlink(missing_ok=True)  # a link that an interrupted attempt has made
    data.symlink_to(original, target_is_directory=True)


def fingerprint(root: Path) -> str:
    """Return a hash of the names and sizes of all files below a folder, and of annotations.

    Images are not read: one that is replaced by another of as many bytes keeps the fingerprint.
    """
    digest = hashlib.sha256()
    for path in map(Path, files_below(root)):
        digest.update(os.fsencode(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0"))
        if path.suffix.lower() in ANNOTATIONS:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def link(
    api: Any, artifact: Any, target: str, alias: str, *, min_metric: float | None, force: bool
) -> str:
    """Link a model to ``wandb-registry-<registry>/<collection>`` under an alias; return a message.

    Another model then loses the alias. With ``force`` no model is refused.
    """
    holder, score = f"{target}:{alias}", monitored(artifact.metadata)
    if not force:
        held = api.artifact(holder).metadata.get(score) if api.artifact_exists(holder) else None
        refuse(artifact.name, artifact.metadata.get(score), min_metric, held)
    artifact.link(target, aliases=[alias])
    return f"{artifact.name} is now {alias} of {target}."


def refuse(
    name: str, score: float | None, min_metric: float | None, current: float | None = None
) -> None:
    """Refuse a model if its score is worse than ``min_metric`` or that of the current model."""
    sign = 1 if METRICS[MONITOR] == "max" else -1
    for text, limit in (("min_metric is", min_metric), ("the current model has", current)):
        if limit is not None and (score is None or not sign * score >= sign * limit):  # NaN, too
            shown = "not known" if score is None else f"{score:.4f}"
            raise UsageError(
                f"{name} is not promoted: its best score is {shown}, but {text} {limit}.\n"
                "To promote it nevertheless: force=true"
            )


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action for later: ``use`` with an artifact, or ``link`` with its arguments."""
    actions = pending(run)
    if action not in actions:
        write_json(run.folder / PENDING, [*actions, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """Return the stored actions of a run that need a server."""
    path = run.folder / PENDING
    return list(json.loads(path.read_text("utf-8"))) if path.is_file() else []
