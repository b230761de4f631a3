"""Actions of a run that need a server: stored without one, and carried out by ``wandb-sync``."""

import json
from collections.abc import Iterator
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
    fingerprint of the data set.
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
    logged: set[str] = set()  # the names of artifacts of which a version was logged
    for action in pending(run):
        try:
            _do(run, logged, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{run.folder / PENDING}: {action['action']}: {reason(error)}")
    if failed:
        write_json(run.folder / PENDING, failed)
    else:
        (run.folder / PENDING).unlink()
    return problems


def _do(run: Run, logged: set[str], action: str, artifact: str, **arguments: Any) -> None:
    """Carry out an action, as described in ``postpone``."""
    tracking = run.settings["tracking"]
    api = public_api(tracking)
    if action == "log":
        uploaded = api.run(f"{tracking['project']}/{run.id}")
        if _log_again(run, uploaded, artifact, again=artifact in logged, **arguments):
            logged.add(artifact)
    elif action == "data":
        from .lineage import log_data_later  # noqa: PLC0415 - it imports PyTorch

        uploaded = api.run(f"{tracking['project']}/{run.id}")
        with resumed_run(uploaded, run.folder / "wandb", exit_code_on_server(uploaded)) as resumed:
            log_data_later(run, resumed, arguments["version"])
    elif action == "link":
        print(f"  {link(api, api.artifact(artifact), **arguments)}")
    else:
        version = api.artifact(artifact)
        api.run(f"{version.entity}/{version.project}/{run.id}").use_artifact(version)


def _log_again(
    run: Run,
    uploaded: Any,
    name: str,
    *,
    kind: str,
    files: list[str],
    aliases: list[str],
    facts: dict[str, Any],
    digest: str,
    again: bool,
) -> bool:
    """Log an artifact of an uploaded run, unless the server has it.

    Args:
        run: the run.
        uploaded: the run on the server.
        name: the name of the artifact.
        kind: its type.
        files: its files, relative to the run folder.
        aliases: its aliases.
        facts: its metadata.
        digest: the digest of the version, which the files may not have any more.
        again: log it even if the server has it: an earlier version has got its aliases.

    Returns:
        Whether the artifact was logged.
    """
    held = digest in {version.digest for version in uploaded.logged_artifacts()}
    if held and not again:
        return False
    lost = [file for file in files if not (run.folder / file).is_file()]
    if lost:  # such as a checkpoint that is no longer among the best
        print(f"  {lost[0]} does not exist any more: this version of {name} is not logged.")
        return False
    artifact = package().Artifact(name, kind, metadata=facts)
    for file in files:
        if not is_file_in(run.folder, run.folder / file):
            raise UsageError(f"{file} is not a file in {run.folder}")
        artifact.add_file(str(run.folder / file), name=Path(file).name)
    if artifact.digest != digest:  # such as the best checkpoint before a better one
        print(f"  {files[0]} has changed since: this version of {name} is not logged.")
        return False
    with resumed_run(uploaded, run.folder / "wandb", exit_code_on_server(uploaded)) as resumed:
        resumed.log_artifact(artifact, aliases=aliases or None).wait()
    return True


def exit_code_on_server(uploaded: Any) -> int:
    """Return the exit code from which W&B derives the state that an uploaded run has."""
    return 0 if uploaded.state == "finished" else 1


@contextmanager
def resumed_run(uploaded: Any, folder: Path, code: int) -> Iterator[Any]:
    """Continue an uploaded run, whose new files go into ``folder``, and end it with ``code``."""
    wandb = package()
    resumed = wandb.init(
        entity=uploaded.entity,
        project=uploaded.project,
        id=uploaded.id,
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
