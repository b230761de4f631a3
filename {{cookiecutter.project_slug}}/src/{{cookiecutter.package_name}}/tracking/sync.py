"""Upload the runs in a folder that the server does not hold completely.

It leaves the upload to ``wandb sync``, and does what that cannot: it asks the server what it has,
refuses runs whose artifacts have lost files, and afterwards logs artifacts that could not be
logged, links models and records the artifacts that a run has used.
"""

import argparse
import sys
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from ..run.folder import Run
from ..run.signals import Interrupted, interruptible
from .client import installed, reason, wandb_command
from .pending import PENDING, aliases_kept, do_pending
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
    """Upload a session and those after it; return the reason if the server then lacks something.

    W&B gives the run the state and the summary of the session that is uploaded last.
    """
    folder, ordered = file.parents[2], sessions(file.parents[1])
    try:
        session = Session(file)
        recent = time.time() - ordered[-1].stat().st_mtime < RECENT_SECONDS
        if recent and not Session(ordered[-1]).has_ended:
            return "it seems to be still running"
        if session.missing() is None:
            (file.parent / COMPLETE).touch()
            return None
        manifests = [record.get("manifest", {}) for record in session.recorded("artifact")]
        entries = [entry for manifest in manifests for entry in manifest.get("contents", [])]
        paths = [entry["local_path"] for entry in entries if entry.get("local_path")]
        # Files elsewhere are not uploaded: the records may be a stranger's.
        missing = [path for path in paths if not is_file_in(folder, Path(path))]
        if missing:  # wandb would upload the rest and mark the run as uploaded
            lost = f"{len(missing)} of its files are missing in its folder"
            return f"{lost}, such as {missing[0]}"
        run = session.fetch_run()
        held = times_of_rows(run) if run is not None else set()
        if held and not any(_is_known(other, held) for other in ordered):
            return (
                f"the server has another run with the id {folder.name}. To upload this one with an "
                f"id of its own: uv run wandb sync --id {folder.name}-2 {file.parent}"
            )
        folders = [str(other.parent) for other in ordered[ordered.index(file) :]]
        with aliases_kept(run):
            wandb_command("sync", "--include-online", "--include-synced", *folders)
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return missing_on_server(file)


def _is_known(file: Path, held: Set[float]) -> bool:
    """Return whether the server holds rows of a session, given the times of the rows it holds."""
    with suppress(ValueError):
        return not held.isdisjoint(Session(file).rows)
    return False
