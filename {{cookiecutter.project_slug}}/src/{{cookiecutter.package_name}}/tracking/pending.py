"""Actions of a run that need a server: stored without one, and carried out by ``wandb-sync``."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..run.atomic_files import write_json
from ..run.folder import Run
from .client import package, public_api, reason
from .registry import link
from .upload_status import Session, is_file_in, sessions

PENDING = "wandb-pending.json"  # in a run folder: the actions
TABLE = ".table.json"  # how the name of a table's file ends
TABLES = "tables"  # the type of the artifacts from which tables are logged again


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action that needs a server, for ``wandb-sync``.

    The action is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, or ``log`` with those of ``log_again``.
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

    A line is returned for each action that failed; these actions stay pending.
    """
    path, failed, problems = run.folder / PENDING, [], []
    try:
        # The settings do not tell where it is: it may have been resumed without tracking since.
        files = sessions(run.folder / "wandb")
        remote = Session(files[-1]).fetch_run() if files else None
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return [f"{path}: {reason(error)}"]
    if remote is None:
        return [f"{path}: the server has no run that {run.folder / 'wandb'} records"]
    for action in pending(run):
        try:
            _do(run, remote, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{path}: {action['action']}: {reason(error)}")
    if failed:
        write_json(path, failed)
    else:
        path.unlink()
    return problems


def _do(run: Run, remote: Any, action: str, artifact: str, **arguments: Any) -> None:
    """Carry out an action, as described in ``postpone``, of the run ``remote`` on the server."""
    api = public_api({"project": remote.project, "entity": remote.entity})
    if action == "link":
        print(f"  {link(api, api.artifact(artifact), **arguments)}")
    elif action == "use":
        remote.use_artifact(api.artifact(artifact))
    elif arguments["digest"] not in {held.digest for held in remote.logged_artifacts()}:
        with aliases_kept(remote), resumed_run(remote, run.folder / "wandb") as resumed:
            log_again(resumed, run.folder, {"artifact": artifact, **arguments})


@contextmanager
def resumed_run(remote: Any, folder: Path) -> Iterator[Any]:
    """Continue a run on the server, and end it with the exit code of its newest session.

    W&B derives the state of the run from the code. ``folder`` is W&B's folder of the run.
    """
    wandb, newest = package(), Session(sessions(folder)[-1])
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
        resumed.finish(exit_code=newest.exit_code)


def log_again(resumed: Any, folder: Path, stored: Mapping[str, Any]) -> None:
    """Log an artifact of a continued run, or leave it out if its files are not what they were.

    ``stored`` has the name ``artifact``, the type ``kind``, the metadata ``facts`` and ``aliases``.
    ``files`` and ``references`` map paths in the artifact to files below the run folder and to
    addresses. ``digest`` is given where the files may change; a table has its ``row`` and maybe a
    ``chart``, the arguments of ``wandb.plot_table``.
    """
    name, kind = stored["artifact"], stored["kind"]
    files = {key: folder / file for key, file in stored["files"].items()}
    artifact = package().Artifact(name, kind, metadata=stored["facts"])
    for path, file in files.items():
        if not is_file_in(folder, file):  # such as a checkpoint that is not among the best now
            print(f"  {file.name} is not in the run folder: this version of {name} is not logged.")
            return
        artifact.add_file(str(file), name=path)
    for path, address in stored.get("references", {}).items():
        artifact.add_reference(address, name=path, checksum=False)
    if artifact.digest != stored.get("digest", artifact.digest):  # such as an earlier best one
        print(f"  {next(iter(files))} has changed since: this version of {name} is not logged.")
        return
    if kind == TABLES:
        (table,) = (path.removesuffix(TABLE) for path in files if path.endswith(TABLE))
        value = resumed.log_artifact(artifact).wait().get(table)
        if stored.get("chart"):
            table = table.removesuffix("_table")
            value = package().plot_table(data_table=value, **stored["chart"])
        resumed.log({table: value, **stored["row"]})
        return
    log = resumed.use_artifact if kind == "dataset" else resumed.log_artifact
    log(artifact, aliases=stored["aliases"] or None).wait()


@contextmanager
def aliases_kept(remote: Any) -> Iterator[None]:
    """Leave aliases with the models of later epochs, whatever a run logs in the ``with`` block."""

    def models() -> dict[str, Any]:
        held = remote.logged_artifacts() if remote is not None else []
        return {artifact.version: artifact for artifact in held if artifact.type == "model"}

    def epoch(model: Any) -> int:
        return int(model.metadata.get("epoch", -1))

    holders = [(alias, model) for model in models().values() for alias in model.aliases]
    yield
    now = models()
    for alias, model in holders:
        for other in now.values():
            if alias in other.aliases and epoch(other) < epoch(model):
                now[model.version].aliases.append(alias)
                now[model.version].save()
