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
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from ..run.folder import Run
from .client import last_line, package, read_records, reason, wandb_command
from .pending import (
    PENDING,
    do_pending,
    exit_code_on_server,
    is_file_in,
    log_version,
    resumed_run,
)
from .upload_status import (
    exit_code,
    fetch_run,
    is_newest,
    is_unfinished,
    missing_artifacts,
    missing_files,
    missing_on_server,
    rows,
    sessions,
    times_of_rows,
)

COMPLETE = "complete"  # in W&B's folder of a run: the server holds all of it
RECENT_SECONDS = 60  # a file changed since then, without an exit record, is a running run


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
    recorded = [file for folder in sorted(runs.glob("*/wandb")) for file in sessions(folder)]
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
    """Upload a run if it has ended and all files of its artifacts exist.

    Returns:
        The reason why the run was not uploaded; None if it was.
    """
    newest = sessions(file.parents[1])[-1]
    recent = time.time() - newest.stat().st_mtime < RECENT_SECONDS
    try:
        records = read_records(file)
        if recent and not any("exit" in record for record in read_records(newest)):
            return "it seems to be still running"
    except ValueError as error:
        return f"it cannot be read: {error}"
    missing = files_not_in_folder(records, file.parents[2])
    if missing:  # wandb would upload the rest and mark the run as uploaded
        return f"{len(missing)} of its files are missing in its folder, such as {missing[0]}"
    try:
        problem = _send(file, records)
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    problem = problem or missing_on_server(file)
    if problem is None:
        (file.parent / COMPLETE).touch()
    return problem


def _send(file: Path, records: Sequence[Mapping[str, Any]]) -> str | None:
    """Send what the server lacks of a run; return the reason if that is not possible."""
    run, written, ordered = fetch_run(records), rows(records), sessions(file.parents[1])
    held = times_of_rows(run) if run is not None else set()
    known = [index for index, other in enumerate(ordered) if _is_known(other, held)]
    if held and not known:
        name = file.parents[2].name
        return (
            f"the server has another run with the id {name}. To upload this one with an id "
            f"of its own: uv run wandb sync --id {name}-2 {file.parent}"
        )
    if max(known, default=-1) < ordered.index(file):  # nothing of this session or a later one
        done = wandb_command("sync", "--include-online", "--include-synced", str(file.parent))
        return last_line(done) if done.returncode else None
    _send_missing(run, file, records, [written[key] for key in sorted(written.keys() - held)])
    return None


def _is_known(file: Path, held: Set[float]) -> bool:
    """Return whether the server holds rows of a session, given the times of the rows it holds."""
    try:
        return not held.isdisjoint(rows(read_records(file)))
    except ValueError:
        return False


def _send_missing(
    run: Any, file: Path, records: Sequence[Mapping[str, Any]], lacking: Sequence[Any]
) -> None:
    """Send the rows, files and artifacts that the server lacks of a session.

    ``wandb sync`` would send all of it, and replace what a later session has left in the run.
    """
    folder, artifacts = file.parent / "files", missing_artifacts(run, records)
    files = missing_files(run, records, folder)
    ended = run.state != "running" and not is_unfinished(run, file, records)
    if ended and not (lacking or files or artifacts):
        return
    if is_newest(file):
        code = exit_code(records)
        summaries = [record.get("summary", {}).get("update", {}) for record in records]
    else:  # a later session has written its own
        code, summaries = exit_code_on_server(run), [run.summary_metrics]
    with resumed_run(run, file.parents[1], code) as resumed:
        for row in lacking:
            resumed.log(_unflattened(row))
        for name in files:
            resumed.save(str(folder / name), base_path=str(folder), policy="now")
        for record in records:
            if record.get("artifact", {}).get("digest") in artifacts:
                _log_recorded(resumed, record["artifact"])
            if "alert" in record and len(lacking) == len(rows(records)):  # nothing has arrived
                alert = record["alert"]
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
    facts = json.loads(record.get("metadata") or "{}")
    artifact = package().Artifact(record["name"], record["type"], metadata=facts)
    for entry in record["manifest"]["contents"]:
        if entry.get("local_path"):
            artifact.add_file(entry["local_path"], name=entry["path"])
        else:
            artifact.add_reference(entry["ref"], name=entry["path"], checksum=False)
    log_version(resumed, artifact, record.get("aliases", []))


def files_not_in_folder(records: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Return the paths in the artifact records of a run that are not files in its folder.

    Files elsewhere are not uploaded: the records may be a stranger's.
    """
    return [
        path
        for record in records
        for entry in record.get("artifact", {}).get("manifest", {}).get("contents", [])
        if (path := entry.get("local_path")) and not is_file_in(folder, Path(path))
    ]
