"""Upload the runs in a folder that the server does not hold completely.

``wandb sync`` sends all rows and files of a run, even if the server has some already: it would then
have them twice. This command asks the server first and sends what it lacks. It also refuses runs
whose artifacts have lost files, and afterwards logs artifacts that could not be logged, links
models and records the artifacts that a run has used.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Set
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..run.folder import Run
from ..run.signals import Interrupted, interruptible
from .client import installed, package, reason, wandb_command
from .pending import PENDING, do_pending, is_file_in, keep_latest, log_version, resumed_run
from .stored_tables import TABLE, restored
from .upload_status import COMPLETE, Session, missing_on_server, sessions, times_of_rows

RECENT_SECONDS = 60  # a file changed since then, without an exit record, is a running run


def main() -> None:
    """Run the command ``wandb-sync``."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    parser.add_argument(
        "--again", action="store_true", help="also ask for the runs that the server had completely"
    )
    given = parser.parse_args()
    runs: Path = given.runs
    if not installed():
        sys.exit("\nwandb-sync needs the package wandb. Install it: uv sync\n")
    if not runs.is_dir():
        sys.exit(f"\n{runs} is not a folder. Name the folder of the runs: wandb-sync runs\n")
    try:
        with interruptible():
            sys.exit(1 if sync(runs, again=given.again) else 0)
    except Interrupted as error:
        print(f"\nwandb-sync was {error}. The same command uploads the rest.\n", file=sys.stderr)
        raise


def sync(runs: Path, *, again: bool = False) -> list[str]:
    """Upload each session that is not marked as complete, then carry out the pending actions.

    With ``again``, the marks are removed before: the server may have lost what it had.

    Returns:
        A line for each run or action that failed, with the reason.
    """
    remaining, incomplete = [], set()
    recorded = [file for folder in sorted(runs.glob("*/wandb")) for file in sessions(folder)]
    if again:
        for file in recorded:
            (file.parent / COMPLETE).unlink(missing_ok=True)
    files = [file for file in recorded if not (file.parent / COMPLETE).exists()]
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


def upload(file: Path) -> str | None:
    """Upload a session if its run has ended and all files of its artifacts exist.

    Returns:
        The reason why the session was not uploaded; None if it was.
    """
    newest = sessions(file.parents[1])[-1]
    recent = time.time() - newest.stat().st_mtime < RECENT_SECONDS
    try:
        session = Session(file)
        if recent and not Session(newest).has_ended:
            return "it seems to be still running"
    except ValueError as error:
        return f"it cannot be read: {error}"
    missing = files_not_in_folder(session, file.parents[2])
    if missing:  # wandb would upload the rest and mark the run as uploaded
        return f"{len(missing)} of its files are missing in its folder, such as {missing[0]}"
    try:
        return _send(session) or missing_on_server(file)
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)


def _send(session: Session) -> str | None:
    """Send what the server lacks of a session; return the reason if that is not possible."""
    file, run = session.file, session.fetch_run()
    ordered = sessions(file.parents[1])
    held = times_of_rows(run) if run is not None else set()
    known = {other for other in ordered if held and _is_known(other, held)}
    if held and not known:
        name = file.parents[2].name
        return (
            f"the server has another run with the id {name}. To upload this one with an id "
            f"of its own: uv run wandb sync --id {name}-2 {file.parent}"
        )
    if known.isdisjoint(ordered[ordered.index(file) :]):  # nothing of this or of a later session
        wandb_command("sync", "--include-online", "--include-synced", str(file.parent))
    else:
        _send_missing(session, run, held)
        keep_latest(run)
    return None


def _is_known(file: Path, held: Set[float]) -> bool:
    """Return whether the server holds rows of a session, given the times of the rows it holds."""
    try:
        return not held.isdisjoint(Session(file).rows)
    except ValueError:
        return False


def _send_missing(session: Session, run: Any, held: Set[float]) -> None:
    """Send the rows, files and artifacts that the server lacks of a session.

    ``wandb sync`` would send all of it, and replace what a later session has left in the run.
    """
    lacking = sorted(session.rows.keys() - held)
    folder, files = session.file.parent / "files", session.missing_files(run)
    artifacts, config = session.missing_artifacts(run), session.missing_config(run)
    if session.end_has_arrived(run) and not (lacking or files or artifacts or config):
        return
    summaries = [record.get("update", {}) for record in session.recorded("summary")]
    if not session.is_newest:
        summaries = [run.summary_metrics]  # of a later session
    with resumed_run(run, session.file.parents[1]) as resumed:
        resumed.config.update(config, allow_val_change=True)
        for time_of_row in lacking:
            resumed.log(_unflattened(session.rows[time_of_row]))
        for name in files:
            resumed.save(str(folder / name), base_path=str(folder), policy="now")
        for record in session.recorded("artifact"):
            if record.get("digest") in artifacts:
                _log_recorded(resumed, record)
        for alert in session.alerts_after(held):
            resumed.alert(alert["title"], alert["text"], alert["level"])
        for summary in summaries:
            resumed.summary.update(_unflattened(summary))


def _unflattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in which each image, table and the like is a mapping again.

    W&B's reader prints ``{"a": {"_type": "image-file", "path": ...}}`` as ``a._type`` and
    ``a.path``. What W&B itself adds to each row is left out, except the time.
    """
    media = [key.removesuffix("._type") for key in row if key.endswith("._type")]
    values: dict[str, Any] = {name: {} for name in media}
    for key, value in row.items():
        name = next((name for name in media if key.startswith(f"{name}.")), None)
        if name is not None:
            values[name][key.removeprefix(f"{name}.")] = value
        elif key not in {"_step", "_runtime", "_wandb", "_wandb.runtime"}:
            values[key] = value
    return values


def _log_recorded(resumed: Any, record: Mapping[str, Any]) -> None:
    """Log an artifact from the record that the run has of it."""
    if record["type"] == "run_table":  # which only W&B itself can log as an artifact
        entries = record["manifest"]["contents"]
        files = {entry["path"]: Path(entry["local_path"]) for entry in entries}
        (name,) = (path for path in files if path.endswith(TABLE))
        with TemporaryDirectory() as folder:
            resumed.log({name.removesuffix(TABLE): restored(files, Path(folder))})
        return
    facts = json.loads(record.get("metadata") or "{}")
    artifact = package().Artifact(record["name"], record["type"], metadata=facts)
    for entry in record["manifest"]["contents"]:
        if entry.get("local_path"):
            artifact.add_file(entry["local_path"], name=entry["path"])
        else:
            artifact.add_reference(entry["ref"], name=entry["path"], checksum=False)
    log_version(resumed, artifact, record.get("aliases", []))


def files_not_in_folder(session: Session, folder: Path) -> list[str]:
    """Return the paths in the artifact records of a session that are not files in a folder.

    Files elsewhere are not uploaded: the records may be a stranger's.
    """
    return [
        path
        for record in session.recorded("artifact")
        for entry in record.get("manifest", {}).get("contents", [])
        if (path := entry.get("local_path")) and not is_file_in(folder, Path(path))
    ]
