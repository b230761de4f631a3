"""Actions of a run that need a server: stored without one, and carried out by ``wandb-sync``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..run.atomic_files import write_json
from ..run.folder import Run
from .client import package, public_api, reason
from .registry import link
from .stored_tables import restored
from .upload_status import Session, sessions

PENDING = "wandb-pending.json"  # in a run folder: the actions


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action that needs a server, for ``wandb-sync``.

    The action is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, ``log`` with those of ``artifacts.log_files``, ``table`` as in
    ``tables.keep``, or ``data`` with the ``version`` of the data set, its fingerprint.
    """
    actions = pending(run)
    if action not in actions:
        write_json(run.folder / PENDING, [*actions, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """Return the stored actions of a run that need a server."""
    path = run.folder / PENDING
    actions: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return actions


def do_pending(run: Run) -> list[str]:
    """Carry out the pending actions of an uploaded run.

    Returns:
        A line for each action that failed; these actions stay pending.
    """
    failed, problems = [], []
    try:
        remote = _uploaded(run)
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return [f"{run.folder / PENDING}: {reason(error)}"]
    for action in pending(run):
        try:
            _do(run, remote, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{run.folder / PENDING}: {action['action']}: {reason(error)}")
    if failed:
        write_json(run.folder / PENDING, failed)
    else:
        (run.folder / PENDING).unlink()
    return problems


def _uploaded(run: Run) -> Any:
    """Return the run on the server.

    The settings do not tell its project: it may have been resumed without tracking since.

    Raises:
        ValueError: if the run is not there.
    """
    files = sessions(run.folder / "wandb")
    remote = Session(files[-1]).fetch_run() if files else None
    if remote is None:
        raise ValueError(f"the server has no run that {run.folder / 'wandb'} records")
    return remote


def _do(run: Run, remote: Any, action: str, artifact: str, **arguments: Any) -> None:
    """Carry out an action, as described in ``postpone``, of the run ``remote`` on the server."""
    api = public_api({"project": remote.project, "entity": remote.entity})
    if action == "link":
        print(f"  {link(api, api.artifact(artifact), **arguments)}")
        return
    if action == "log":
        _log_if_lost(run, remote, artifact, arguments)
        keep_latest(remote)
    elif action == "data":
        from .lineage import log_data_later  # noqa: PLC0415 - it imports PyTorch

        with resumed_run(remote, run.folder / "wandb") as resumed:
            log_data_later(run, resumed, arguments["version"])
    elif action == "table":
        _log_table_if_lost(run, remote, artifact, arguments)
    else:
        remote.use_artifact(api.artifact(artifact))


def _log_if_lost(run: Run, remote: Any, name: str, stored: Mapping[str, Any]) -> None:
    """Log an artifact unless the server has it; files that have changed since are left out.

    ``stored`` are the arguments of ``artifacts.log_files`` with the digest of the artifact, and
    ``remote`` is the run on the server.
    """
    if stored["digest"] in {held.digest for held in remote.logged_artifacts()}:
        return
    artifact = package().Artifact(name, stored["kind"], metadata=stored["facts"])
    for file in stored["files"]:  # relative to the run folder
        path = run.folder / file
        if not is_file_in(run.folder, path):  # such as a checkpoint that is not among the best now
            print(f"  {file} is not in the run folder: this version of {name} is not logged.")
            return
        artifact.add_file(str(path), name=path.name)
    if artifact.digest != stored["digest"]:  # such as the best checkpoint before a better one
        print(f"  {stored['files'][0]} has changed since: this version of {name} is not logged.")
        return
    with resumed_run(remote, run.folder / "wandb") as resumed:
        log_version(resumed, artifact, stored["aliases"])


def _log_table_if_lost(run: Run, remote: Any, name: str, stored: Mapping[str, Any]) -> None:
    """Log a table or a chart that ``tables.keep`` has stored, unless the server has it."""
    if stored["digest"] in {held.digest for held in remote.logged_artifacts()}:
        return
    files = {path: run.folder / file for path, file in stored["files"].items()}
    if not all(is_file_in(run.folder, file) for file in files.values()):
        print(f"  Files of {name} are not in the run folder: it is not logged.")
        return
    with TemporaryDirectory() as folder, resumed_run(remote, run.folder / "wandb") as resumed:
        value = restored(files, Path(folder))
        if stored["chart"]:
            spec, fields = stored["chart"]
            value = package().plot_table(spec, value, fields, stored["texts"])
        resumed.log({name: value, **stored["axes"]})


def log_version(resumed: Any, artifact: Any, aliases: Sequence[str]) -> None:
    """Log a version of an artifact; a version of a later epoch keeps its aliases."""
    api, epoch = public_api(), artifact.metadata.get("epoch")

    def is_kept(alias: str) -> bool:
        name = f"{resumed.entity}/{resumed.project}/{artifact.name}:{alias}"
        if epoch is None or not api.artifact_exists(name):
            return False
        return bool(api.artifact(name).metadata.get("epoch", -1) > epoch)

    given = [alias for alias in aliases if not is_kept(alias)]
    resumed.log_artifact(artifact, aliases=given or None).wait()


def keep_latest(remote: Any) -> None:
    """Give the alias ``latest``, which the last upload has, to the model of a run's last epoch."""
    models = [held for held in remote.logged_artifacts() if held.type == "model"]
    models.sort(key=lambda held: (held.metadata.get("epoch", -1), int(held.version[1:])))
    if models and "latest" not in models[-1].aliases:
        models[-1].aliases.append("latest")
        models[-1].save()


@contextmanager
def resumed_run(remote: Any, folder: Path) -> Iterator[Any]:
    """Continue a run on the server, and end it with the exit code of its newest session.

    W&B derives the state of the run from the code. ``folder`` is W&B's folder of the run.
    """
    wandb = package()
    codes = [Session(file).exit_code for file in sessions(folder)[-1:]]
    resumed = wandb.init(
        entity=remote.entity,
        project=remote.project,
        id=remote.id,
        resume="must",
        mode="online",  # also where WANDB_MODE records runs offline
        dir=folder / "data",
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        yield resumed
    finally:
        resumed.finish(exit_code=codes[0] if codes else int(remote.state != "finished"))


def is_file_in(folder: Path, path: Path) -> bool:
    """Return whether a path is a file below a folder, also after links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
