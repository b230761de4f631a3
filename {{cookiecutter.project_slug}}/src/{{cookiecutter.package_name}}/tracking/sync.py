"""``wandb-sync``: upload what was recorded offline, and do what only a server can."""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.progress import track

from ..errors import UsageError
from ..run.folder import Run
from .pending import COMPLETE, FILE, keep, pending

STILL_RUNNING_SECONDS = 60  # a run that was written to so lately may not have ended
LEAST_BYTES = 64  # a run that never began has a header only


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        remaining = sync(arguments.runs)
    except UsageError as error:
        sys.exit(f"\n{error}\n")
    sys.exit(1 if remaining else 0)


def sync(runs: Path) -> list[str]:
    """Upload each offline run below ``runs``, one at a time, then what waits for it.

    Returns:
        A line for each thing that remains to be done, with the reason.

    Raises:
        UsageError: if there is no such folder.
    """
    if not runs.is_dir():
        raise UsageError(f"{runs} is no folder. Name the one that holds the runs: wandb-sync runs")
    open_files = list(unsynced(runs))
    waiting = [Run(path.parent) for path in sorted(runs.glob(f"*/{FILE}"))]
    remaining, done = [], 0
    console = Console()
    for file in track(open_files, description="Uploading", console=console, transient=True):
        why = _upload(file)
        if why is None:
            done += 1
            console.print(f"  {file.parent}", soft_wrap=True, markup=False)
        else:
            remaining.append(f"{file.parent}: {why}")
    for run in waiting:
        if any(file.is_relative_to(run.folder) for file in unsynced(runs)):
            remaining.append(f"{run.folder / FILE}: its run is not uploaded yet")
        else:
            remaining += _replay(run, console)
    console.print(f"{done} of {len(open_files)} runs uploaded, {len(remaining)} things remain.")
    for line in remaining:
        console.print(f"  {line}", soft_wrap=True, markup=False)
    return remaining


def unsynced(runs: Path) -> Iterator[Path]:
    """The files of the runs of which a server has not, or may not have, everything."""
    for file in sorted(runs.glob("*/wandb/*run-*/*.wandb")):
        marked = file.with_name(f"{file.name}.synced").exists() or (file.parent / COMPLETE).exists()
        if not marked and file.stat().st_size > LEAST_BYTES:
            yield file


def _upload(file: Path) -> str | None:
    """Upload one run; the reason if that cannot be."""
    try:
        found = records(file)
    except UsageError as error:
        return str(error)
    recent = time.time() - file.stat().st_mtime < STILL_RUNNING_SECONDS
    if recent and not any("exit" in record for record in found):
        return "it seems to be running still"
    missing = missing_files(found)
    if missing:
        return f"{len(missing)} of its files are gone, {missing[0]} among them; nothing was sent"
    done = _wandb("sync", "--include-online", str(file.parent))
    if done.returncode or not file.with_name(f"{file.name}.synced").exists():
        return _last_line(done)
    return None


def missing_files(found: Sequence[dict[str, Any]]) -> list[str]:
    """Files that the artifacts among the records are made of and that are not there any more."""
    return [
        path
        for record in found
        for entry in record.get("artifact", {}).get("manifest", {}).get("contents", [])
        if (path := entry.get("local_path")) and not Path(path).is_file()
    ]


def records(file: Path) -> list[dict[str, Any]]:
    """What W&B's own reader finds in the file of a run.

    Raises:
        UsageError: if it cannot read it.
    """
    done = _wandb("leet", "inspect", "--json", str(file))
    if done.returncode:
        raise UsageError(f"it cannot be read: {_last_line(done)}")
    lines = done.stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def _replay(run: Run, console: Console) -> list[str]:
    from .artifacts import log_again  # noqa: PLC0415 - brings PyTorch
    from .client import public_api, reason  # noqa: PLC0415
    from .registry import link  # noqa: PLC0415

    left, lines = [], []
    tracking = SimpleNamespace(**(run.settings.get("tracking") or {}))
    for action in track(pending(run), description=run.id, console=console, transient=True):
        try:
            if action["action"] == "log":
                log_again(run, tracking, action)
                continue
            api = public_api(tracking)
            artifact = api.artifact(action["artifact"])
            if action["action"] == "use":
                api.run(f"{artifact.entity}/{artifact.project}/{run.id}").use_artifact(artifact)
            else:
                said = link(
                    api,
                    artifact,
                    action["target"],
                    action["alias"],
                    bar=action["bar"],
                    force=action["force"],
                )
                console.print(f"  {said}", soft_wrap=True, markup=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the action is kept and told
            left.append(action)
            lines.append(f"{run.folder / FILE}: {action['action']}: {reason(error)}")
    keep(run, left)
    return lines


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    lines = (done.stderr + done.stdout).strip().splitlines()
    return lines[-1] if lines else f"wandb ended with {done.returncode}"


def _wandb(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - the package's own command line
        [sys.executable, "-m", "wandb", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WANDB_ERROR_REPORTING": "false"},
    )
