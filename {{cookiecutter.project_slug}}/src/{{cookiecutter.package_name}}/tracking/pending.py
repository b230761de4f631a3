"""Actions of a run that need a server: stored without one, and carried out by ``wandb-sync``."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..run.files import write_json
from ..run.folder import Run
from .client import package, public_api, reason
from .registry import link

PENDING = "wandb-pending.json"  # in a run folder: the actions


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action that needs a server, for ``wandb-sync``.

    The action is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, ``log`` with those of ``artifacts.log_files``, or ``data`` with the
    ``version`` of the data set, which is its fingerprint.
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
    for action in pending(run):
        try:
            _do(run, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{run.folder / PENDING}: {action['action']}: {reason(error)}")
    if failed:
        write_json(run.folder / PENDING, failed)
    else:
        (run.folder / PENDING).unlink()
    return problems


def _do(run: Run, action: str, artifact: str, **arguments: Any) -> None:
    """Carry out an action, as described in ``postpone``."""
    tracking = run.settings["tracking"]
    api = public_api(tracking)
    if action == "log":
        _log_if_lost(run, api.run(f"{tracking['project']}/{run.id}"), artifact, **arguments)
    elif action == "data":
        from .lineage import log_data_later  # noqa: PLC0415 - it imports PyTorch

        remote = api.run(f"{tracking['project']}/{run.id}")
        with resumed_run(remote, run.folder / "wandb", exit_code_on_server(remote)) as resumed:
            log_data_later(run, resumed, arguments["version"])
    elif action == "link":
        print(f"  {link(api, api.artifact(artifact), **arguments)}")
    else:
        used = api.artifact(artifact)
        api.run(f"{used.entity}/{used.project}/{run.id}").use_artifact(used)


def _log_if_lost(
    run: Run,
    remote: Any,
    name: str,
    *,
    kind: str,
    files: list[str],
    aliases: list[str],
    facts: dict[str, Any],
    digest: str,
) -> None:
    """Log an artifact unless the server has it; files that have changed since are left out.

    Its ``files`` are relative to the run folder, ``facts`` are its metadata, and ``remote`` is the
    run on the server.
    """
    if digest in {held.digest for held in remote.logged_artifacts()}:
        return
    lost = [file for file in files if not (run.folder / file).is_file()]
    if lost:  # such as a checkpoint that is no longer among the best
        print(f"  {lost[0]} does not exist any more: this version of {name} is not logged.")
        return
    artifact = package().Artifact(name, kind, metadata=facts)
    for file in files:
        if not is_file_in(run.folder, run.folder / file):
            raise UsageError(f"{file} is not a file in {run.folder}")
        artifact.add_file(str(run.folder / file), name=Path(file).name)
    if artifact.digest != digest:  # such as the best checkpoint before a better one
        print(f"  {files[0]} has changed since: this version of {name} is not logged.")
        return
    with resumed_run(remote, run.folder / "wandb", exit_code_on_server(remote)) as resumed:
        log_version(resumed, artifact, aliases)


def log_version(resumed: Any, artifact: Any, aliases: Sequence[str]) -> None:
    """Log a version of an artifact; a version of a later epoch keeps its aliases.

    W&B gives the alias ``latest`` to the version that arrives last, so it is given back.
    """
    api, name = public_api(), f"{resumed.entity}/{resumed.project}/{artifact.name}"
    kept = {}
    for alias in {*aliases, "latest"} if "epoch" in artifact.metadata else ():
        if api.artifact_exists(f"{name}:{alias}"):
            holder = api.artifact(f"{name}:{alias}")
            if holder.metadata.get("epoch", -1) > artifact.metadata["epoch"]:
                kept[alias] = f"{name}:{holder.version}"
    given = [alias for alias in aliases if alias not in kept]
    resumed.log_artifact(artifact, aliases=given or None).wait()
    if "latest" in kept:
        newest = api.artifact(kept["latest"])
        newest.aliases.append("latest")
        newest.save()


def exit_code_on_server(remote: Any) -> int:
    """Return the exit code from which W&B derives the state that a run has on the server."""
    return 0 if remote.state == "finished" else 1


@contextmanager
def resumed_run(remote: Any, folder: Path, code: int) -> Iterator[Any]:
    """Continue a run on the server, with new files in ``folder``, and end it with ``code``."""
    wandb = package()
    resumed = wandb.init(
        entity=remote.entity,
        project=remote.project,
        id=remote.id,
        resume="must",
        dir=folder / "data",
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        yield resumed
    finally:
        resumed.finish(exit_code=code)


def is_file_in(folder: Path, path: Path) -> bool:
    """Return whether a path is a file below a folder, also after links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
