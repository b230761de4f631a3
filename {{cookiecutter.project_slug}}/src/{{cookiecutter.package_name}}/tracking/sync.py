"""``wandb-sync``: upload offline runs, and do what had to wait for a server."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..run.files import write_json
from ..run.folder import Run
from .client import package, reason
from .registry import link, public_api

if TYPE_CHECKING:
    from .logger import RunLogger

PENDING = "wandb-pending.json"  # in a run folder: the actions that wait for a server
COMPLETE = "complete"  # in W&B's folder of an online run: the whole run has arrived
RECENT_SECONDS = 60  # a younger file without an end belongs to a run that goes on
MIN_BYTES = 64  # the file of a run that never began has a header only


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Add an action to those that wait for a server.

    It is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, or ``log`` with those of ``artifacts.log_files``.
    """
    actions = pending(run)
    if action not in actions:
        write_json(run.folder / PENDING, [*actions, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """The actions that wait for a server."""
    path = run.folder / PENDING
    actions: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return actions


def remember_artifacts(logger: "RunLogger", files: str, *, arrived: bool) -> None:
    """Mark W&B's folder of a finished online run as complete, or remember its artifacts.

    Args:
        logger: of the finished run.
        files: the folder ``files`` in W&B's folder of the run.
        arrived: whether the upload has finished.
    """
    if arrived:
        (Path(files).parent / COMPLETE).touch()
    if not arrived or "logging the model" in logger.failures:
        for action in logger.artifacts:
            postpone(logger.run, action)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    runs: Path = parser.parse_args().runs
    if not runs.is_dir():
        sys.exit(f"\n{runs} is not a folder. Name the folder of the runs: wandb-sync runs\n")
    sys.exit(1 if sync(runs) else 0)


def sync(runs: Path) -> list[str]:
    """Upload each offline run in the folder ``runs``, then do the actions that wait for it.

    Returns:
        A line for each thing that remains to be done, with the reason.
    """
    remaining, left = [], set()
    files = [file for file in sorted(runs.glob("*/wandb/*run-*/*.wandb")) if not _is_uploaded(file)]
    for file in files:
        print(f"  {file.parent}")
        problem = upload(file)
        if problem:
            remaining.append(f"{file.parent}: {problem}")
            left.add(file.parents[2])
    print(f"{len(files) - len(remaining)} of {len(files)} runs uploaded.")
    for path in sorted(runs.glob(f"*/{PENDING}")):
        if path.parent in left:
            remaining.append(f"{path}: its run is not uploaded yet")
        else:
            remaining += do_pending(Run(path.parent))
    if remaining:
        print("To be done:", *remaining, sep="\n  ")
    return remaining


def _is_uploaded(file: Path) -> bool:
    marks = [file.with_name(f"{file.name}.synced"), file.parent / COMPLETE]
    return any(mark.exists() for mark in marks) or file.stat().st_size <= MIN_BYTES


def upload(file: Path) -> str | None:
    """Upload a run, if it has ended and all files of its artifacts exist.

    Returns:
        The reason why it is not uploaded, or None.
    """
    done = _wandb("leet", "inspect", "--json", str(file))
    if done.returncode:
        return f"it cannot be read: {_last_line(done)}"
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    recent = time.time() - file.stat().st_mtime < RECENT_SECONDS
    if recent and not any("exit" in record for record in records):
        return "it seems to be still running"
    missing = missing_files(records)
    if missing:  # wandb would upload the rest, and take the run for uploaded
        return f"{len(missing)} of its files are missing, such as {missing[0]}"
    done = _wandb("sync", "--include-online", str(file.parent))
    return None if not done.returncode and _is_uploaded(file) else _last_line(done)


def missing_files(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The files of the artifacts among the records that do not exist any more."""
    return [
        path
        for record in records
        for entry in record.get("artifact", {}).get("manifest", {}).get("contents", [])
        if (path := entry.get("local_path")) and not Path(path).is_file()
    ]


def do_pending(run: Run) -> list[str]:
    """Do the actions of an uploaded run.

    Returns:
        A line for each action that failed; these actions go on waiting.
    """
    left, problems = [], []
    for action in pending(run):
        try:
            _do(run, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            left.append(action)
            problems.append(f"{run.folder / PENDING}: {action['action']}: {reason(error)}")
    if left:
        write_json(run.folder / PENDING, left)
    else:
        (run.folder / PENDING).unlink()
    return problems


def _do(run: Run, action: str, artifact: str, **arguments: Any) -> None:
    tracking = run.settings["tracking"]
    api = public_api(tracking)
    if action == "log":
        _log_again(run, api.run(f"{tracking['project']}/{run.id}"), artifact, **arguments)
        return
    version = api.artifact(artifact)
    if action == "use":
        api.run(f"{version.entity}/{version.project}/{run.id}").use_artifact(version)
    else:
        print(f"  {link(api, version, **arguments)}")


def _log_again(
    run: Run,
    uploaded: Any,
    name: str,
    *,
    kind: str,
    files: list[str],
    aliases: list[str],
    facts: dict[str, Any],
) -> None:
    """Log an artifact of an uploaded run; content that the server has is not a new version."""
    wandb = package()
    code = 0 if uploaded.state == "finished" else 1
    resumed = wandb.init(
        entity=uploaded.entity,
        project=uploaded.project,
        id=run.id,
        resume="must",
        dir=run.folder / "wandb" / "data",
        settings=wandb.Settings(silent=True),
    )
    artifact = wandb.Artifact(name, kind, metadata=facts)
    for file in files:
        artifact.add_file(str(run.folder / file), name=Path(file).name)
    resumed.log_artifact(artifact, aliases=aliases or None).wait()
    resumed.finish(exit_code=code)


def _wandb(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - the command line of wandb
        [sys.executable, "-m", "wandb", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WANDB_ERROR_REPORTING": "false"},
    )


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"wandb ended with {done.returncode}"
