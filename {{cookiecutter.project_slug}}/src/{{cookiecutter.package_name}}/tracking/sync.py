"""Upload the offline runs in a folder, then carry out their actions that need a server."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from ..errors import UsageError
from ..run.files import write_json
from ..run.folder import Run
from .client import package, public_api, reason, wandb_command
from .registry import link

PENDING = "wandb-pending.json"  # in a run folder: actions that need a server
COMPLETE = "complete"  # in W&B's folder of an online run: its upload is complete
RECENT_SECONDS = 60  # a file changed since then, without an exit record, is a running run
MIN_BYTES = 64  # the file of a run that never started has only a header


def postpone(run: Run, action: dict[str, Any]) -> None:
    """Store an action that needs a server, for ``wandb-sync``.

    The action is ``{"action": "use", "artifact": ...}``, or ``link`` with the arguments of
    ``registry.link``, or ``log`` with those of ``artifacts.log_files``.
    """
    actions = pending(run)
    if action not in actions:
        write_json(run.folder / PENDING, [*actions, action])


def pending(run: Run) -> list[dict[str, Any]]:
    """Return the stored actions of a run that need a server."""
    path = run.folder / PENDING
    actions: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return actions


def main() -> None:
    """Run the command ``wandb-sync``."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    runs: Path = parser.parse_args().runs
    if not runs.is_dir():
        sys.exit(f"\n{runs} is not a folder. Name the folder of the runs: wandb-sync runs\n")
    sys.exit(1 if sync(runs) else 0)


def sync(runs: Path) -> list[str]:
    """Upload each offline run in the folder ``runs``, then carry out its pending actions.

    Returns:
        A line for each run or action that failed, with the reason.
    """
    remaining, incomplete = [], set()
    files = [file for file in sorted(runs.glob("*/wandb/*run-*/*.wandb")) if not _is_uploaded(file)]
    for file in files:
        print(f"  {file.parent}")
        problem = upload(file)
        if problem:
            remaining.append(f"{file.parent}: {problem}")
            incomplete.add(file.parents[2])
    print(f"{len(files) - len(remaining)} of {len(files)} runs uploaded.")
    for path in sorted(runs.glob(f"*/{PENDING}")):
        if path.parent in incomplete:
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
    """Upload a run if it has ended and all files of its artifacts exist.

    Returns:
        The reason why the run was not uploaded; None if it was.
    """
    done = wandb_command("leet", "inspect", "--json", str(file))
    if done.returncode:
        return f"it cannot be read: {_last_line(done)}"
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    recent = time.time() - file.stat().st_mtime < RECENT_SECONDS
    if recent and not any("exit" in record for record in records):
        return "it seems to be still running"
    missing = missing_files(records, file.parents[2])
    if missing:  # wandb would upload the rest and mark the run as uploaded
        return f"{len(missing)} of its files are missing in its folder, such as {missing[0]}"
    done = wandb_command("sync", "--include-online", str(file.parent))
    return None if not done.returncode and _is_uploaded(file) else _last_line(done)


def missing_files(records: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Return the paths in the artifact records of a run that are no files in its folder.

    Files elsewhere are not uploaded: the records may be a stranger's.
    """
    return [
        path
        for record in records
        for entry in record.get("artifact", {}).get("manifest", {}).get("contents", [])
        if (path := entry.get("local_path")) and not _is_file_in(folder, Path(path))
    ]


def _is_file_in(folder: Path, path: Path) -> bool:
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


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
        _log_again(run, api.run(f"{tracking['project']}/{run.id}"), artifact, **arguments)
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
) -> None:
    """Log an artifact of an uploaded run; content that is on the server makes no new version."""
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
        if not _is_file_in(run.folder, run.folder / file):
            raise UsageError(f"{file} is no file in {run.folder}")
        artifact.add_file(str(run.folder / file), name=Path(file).name)
    resumed.log_artifact(artifact, aliases=aliases or None).wait()
    resumed.finish(exit_code=code)


def _last_line(done: CompletedProcess[str]) -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"wandb ended with {done.returncode}"
