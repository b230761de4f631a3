"""Upload the runs in a folder that the server does not hold completely.

``wandb sync`` sends all rows and files of a run, even if the server has some already: it would then
have them twice. This command asks the server first and sends what it lacks. It also refuses runs
whose artifacts have lost files, and afterwards logs artifacts that could not be logged, links
models and records the artifacts that a run has used.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..run.folder import Run
from ..run.signals import Interrupted, interruptible
from .client import installed, reason, wandb_command
from .pending import PENDING
from .sync_actions import as_stored, do_pending, keep_latest, log_again, resumed_run
from .upload_status import (
    COMPLETE,
    Session,
    is_file_in,
    missing_on_server,
    sessions,
    times_of_rows,
)

RECENT_SECONDS = 60  # a file changed since then, without an exit record, is a running run


def main() -> None:
    """Run the command ``wandb-sync``."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    parser.add_argument(
        "--again", action="store_true", help="also ask for the runs that the server had completely"
    )
    given = parser.parse_args()
    if not installed():
        sys.exit("\nwandb-sync needs the package wandb. Install it: uv sync\n")
    if not given.runs.is_dir():
        sys.exit(f"\n{given.runs} is not a folder. Name the folder of the runs: wandb-sync runs\n")
    try:
        with interruptible():
            sys.exit(1 if sync(given.runs, again=given.again) else 0)
    except Interrupted as error:
        print(f"\nwandb-sync was {error}. The same command uploads the rest.\n", file=sys.stderr)
        raise


def sync(runs: Path, *, again: bool = False) -> list[str]:
    """Upload each session that is not marked as complete, then carry out the pending actions.

    With ``again``, the marks are removed before: the server may have lost what it had. A line is
    returned for each run or action that failed, with the reason.
    """
    remaining, incomplete = [], set()
    recorded = [file for folder in sorted(runs.glob("*/wandb")) for file in sessions(folder)]
    files = [file for file in recorded if again or not (file.parent / COMPLETE).exists()]
    for file in files:
        (file.parent / COMPLETE).unlink(missing_ok=True)
        print(f"  {file.parent}")
        if problem := upload(file):
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
    """Upload what the server lacks of a session; return the reason if that is not possible."""
    folder, ordered = file.parents[2], sessions(file.parents[1])
    try:
        session = Session(file)
        recent = time.time() - ordered[-1].stat().st_mtime < RECENT_SECONDS
        if recent and not Session(ordered[-1]).has_ended:
            return "it seems to be still running"
        # Files elsewhere are not uploaded: the records may be a stranger's.
        artifacts = [as_stored(record) for record in session.recorded("artifact")]
        paths = [path for artifact in artifacts for path in artifact["files"].values()]
        missing = [path for path in paths if not is_file_in(folder, Path(path))]
        if missing:  # wandb would upload the rest and mark the run as uploaded
            lost = f"{len(missing)} of its files are missing in its folder"
            return f"{lost}, such as {missing[0]}"
        run = session.fetch_run()
        held = times_of_rows(run) if run is not None else set()
        known = {other for other in ordered if held and _is_known(other, held)}
        if held and not known:
            return (
                f"the server has another run with the id {folder.name}. To upload this one with an "
                f"id of its own: uv run wandb sync --id {folder.name}-2 {file.parent}"
            )
        if known.isdisjoint(ordered[ordered.index(file) :]):  # nothing of this or a later session
            wandb_command("sync", "--include-online", "--include-synced", str(file.parent))
        else:
            _send_missing(session, run, held)
            keep_latest(run)
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return missing_on_server(file)


def _is_known(file: Path, held: Set[float]) -> bool:
    """Return whether the server holds rows of a session, given the times of the rows it holds."""
    with suppress(ValueError):
        return not held.isdisjoint(Session(file).rows)
    return False


def _send_missing(session: Session, run: Any, held: Set[float]) -> None:
    """Send the rows, files and artifacts that the server lacks of a session.

    ``wandb sync`` would send all of it, and replace what a later session has left in the run.
    """
    rows, config, files, artifacts = session.lacking(run).values()
    if session.end_has_arrived(run) and not (rows or config or files or artifacts):
        return
    summaries = [record.get("update", {}) for record in session.recorded("summary")]
    if not session.is_newest:
        summaries = [run.summary_metrics]  # of a later session
    folder = session.file.parent / "files"
    with resumed_run(run, session.file.parents[1]) as resumed:
        resumed.config.update(config, allow_val_change=True)
        for time_of_row in sorted(rows):
            resumed.log(_unflattened(session.rows[time_of_row]))
        for name in sorted(files):
            resumed.save(str(folder / name), base_path=str(folder), policy="now")
        for record in session.recorded("artifact"):
            if record.get("digest") in artifacts:
                log_again(resumed, session.file.parents[2], as_stored(record))
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
