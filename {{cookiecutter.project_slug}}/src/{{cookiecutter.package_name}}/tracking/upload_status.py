"""Compare the file in which W&B records a run with what the server holds."""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import package, public_api, read_records, reason

MIN_BYTES = 64  # the file of a session that never started has only a header
RETRY_DELAYS = (0, 1, 3)  # seconds before each request, since the server shows new data late


def sessions(folder: Path) -> list[Path]:
    """Return the files of the sessions of a run in its folder of W&B, the oldest first."""
    files = [file for file in folder.glob("*run-*/*.wandb") if file.stat().st_size > MIN_BYTES]
    return sorted(files, key=lambda file: file.parent.name.removeprefix("offline-"))


def is_newest(file: Path) -> bool:
    """Return whether a file is that of the newest session of its run."""
    return file == sessions(file.parents[1])[-1]


def exit_code(records: Sequence[Mapping[str, Any]]) -> int:
    """Return the exit code of a session; it is 1 if the session was killed."""
    codes = [record["exit"].get("exit_code", 0) for record in records if "exit" in record]
    return codes[-1] if codes else 1


def is_unfinished(run: Any, file: Path, records: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the server does not know that the newest session has ended without error."""
    return run.state != "finished" and is_newest(file) and exit_code(records) == 0


def fetch_run(records: Sequence[Mapping[str, Any]]) -> Any | None:
    """Return the run of these records on the server, or None if the server has no such run."""
    started = next(record["run"] for record in records if "run" in record)
    place = [started[key] for key in ("entity", "project", "run_id") if started.get(key)]
    try:
        return public_api().run("/".join(place))
    except (ValueError, package().errors.CommError) as error:  # the class depends on the version
        if "Could not find" in str(error):
            return None
        raise


def rows(records: Sequence[Mapping[str, Any]]) -> dict[float, dict[str, Any]]:
    """Return the rows of metrics in a file by their time in seconds, which identifies them."""
    items = [record["history"]["item"] for record in records if "history" in record]
    return {round(row["_timestamp"], 6): row for row in items if "_timestamp" in row}


def times_of_rows(run: Any) -> set[float]:
    """Return the times of the rows that the server holds of a run."""
    return {round(row["_timestamp"], 6) for row in run.scan_history(keys=["_timestamp"])}


def missing_files(run: Any, records: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Return the files of a run in ``folder`` that the server lacks, by their names in the run."""
    listed = [
        item["path"] for record in records for item in record.get("files", {}).get("files", [])
    ]
    here = {path for path in listed if (folder / path).is_file()}
    return sorted(here - {held.name for held in run.files(per_page=1000)})


def missing_artifacts(
    run: Any, records: Sequence[Mapping[str, Any]], digests: Collection[str] = ()
) -> set[str]:
    """Return the digests of the artifacts of a run that the server lacks."""
    logged = {record["artifact"].get("digest") for record in records if "artifact" in record}
    wanted = (logged | {*digests}) - {None, ""}
    return wanted - {held.digest for held in run.logged_artifacts()} if wanted else wanted


def missing_on_server(file: Path, digests: Collection[str] = ()) -> str | None:
    """Return what the server lacks of a run that has ended; None if it holds all of it.

    W&B's own mark, the file ``.synced``, only says that an upload has been tried. ``digests`` are
    those of artifacts that the run has logged and ``file`` may not record.
    """
    problem = None
    try:
        records = read_records(file)
        for delay in RETRY_DELAYS:
            time.sleep(delay)
            problem = _missing(fetch_run(records), records, file, digests)
            if problem is None:
                break
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return problem


def _missing(
    run: Any, records: Sequence[Mapping[str, Any]], file: Path, digests: Collection[str]
) -> str | None:
    if run is None:
        return "the server has no such run"
    if run.state == "running" or is_unfinished(run, file, records):
        return "the server has not received the end of the run"
    written = rows(records)
    lacking = len(written.keys() - times_of_rows(run)) if written else 0
    if lacking:
        return f"the server lacks {lacking} of {len(written)} rows"
    files = missing_files(run, records, file.parent / "files")
    if files:
        return f"the server lacks {len(files)} files, such as {files[0]}"
    lost = missing_artifacts(run, records, digests)
    return f"the server lacks {len(lost)} artifacts" if lost else None
