"""Compare the file in which W&B records a session of a run with what the server holds."""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..data.reading_summary import number_of
from .client import package, public_api, read_records, reason

COMPLETE = "complete"  # in W&B's folder of a session: the server holds all of it
MIN_BYTES = 64  # the file of a session that never started has only a header
RETRY_DELAYS = (0, 1, 3)  # seconds before each request, since the server shows new data late


def sessions(folder: Path) -> list[Path]:
    """Return the files of the sessions of a run in its folder of W&B, the oldest first."""
    files = [file for file in folder.glob("*run-*/*.wandb") if file.stat().st_size > MIN_BYTES]
    return sorted(files, key=lambda file: file.parent.name.removeprefix("offline-"))


class Session:
    """A session of a run, as its file records it; ``ValueError`` if the file cannot be read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records = read_records(file)
        codes = [record.get("exit_code", 0) for record in self.recorded("exit")]
        self.exit_code = codes[-1] if codes else None  # None if the session was killed
        # The rows of metrics by their time in seconds, which identifies them.
        items = [record["item"] for record in self.recorded("history")]
        self.rows = {round(row["_timestamp"], 6): row for row in items if "_timestamp" in row}

    def recorded(self, kind: str) -> list[dict[str, Any]]:
        """Return the content of the records of a kind."""
        return [record[kind] for record in self.records if kind in record]

    def fetch_run(self) -> Any | None:
        """Return the run of this session on the server; None if the server has no such run."""
        started = self.recorded("run")[0]
        place = [started[key] for key in ("entity", "project", "run_id") if started.get(key)]
        try:
            return public_api().run("/".join(place))
        except (ValueError, package().errors.CommError) as error:  # the class depends on wandb
            if "Could not find" in str(error):
                return None
            raise

    def is_unknown_to(self, run: Any) -> bool:
        """Return whether the run on the server has rows, but none of any session in this folder."""
        held = {round(row["_timestamp"], 6) for row in run.scan_history(keys=["_timestamp"])}
        recorded = [Session(file).rows.keys() for file in sessions(self.file.parents[1])]
        return bool(held) and all(map(held.isdisjoint, recorded))

    def lacking(self, run: Any, digests: Collection[str] = ()) -> dict[str, set[Any]]:
        """Return what the server lacks: times of rows, names of files, digests of artifacts.

        ``digests`` are those of artifacts that the file does not record.
        """
        held = {round(row["_timestamp"], 6) for row in run.scan_history(keys=["_timestamp"])}
        named = {item["path"] for part in self.recorded("files") for item in part.get("files", [])}
        folder, run_folder = self.file.parent / "files", self.file.parents[2]
        # Files of ``wandb.save`` are links. A file elsewhere must not be uploaded.
        files = {name for name in named if is_file_in(run_folder, folder / name)}
        known = {artifact.digest for artifact in (*run.logged_artifacts(), *run.used_artifacts())}
        logged = {artifact.get("digest") for artifact in self.recorded("artifact")} - {None, ""}
        return {
            "rows": self.rows.keys() - held,
            "files": files - {file.name for file in run.files(per_page=1000)},
            "artifacts": {*digests, *logged} - known,
        }

    def missing(self, digests: Collection[str] = ()) -> str | None:
        """Return what the server lacks of a session that has ended; None if it holds all of it."""
        run = self.fetch_run()
        if run is None:
            return "the server has no such run"
        is_newest = [self.file] == sessions(self.file.parents[1])[-1:]
        if run.state == "running" or (
            is_newest and run.state != "finished" and (run.state == "crashed" or not self.exit_code)
        ):
            return "the server has not received the end of the run"
        lacking = self.lacking(run, digests).items()
        texts = [number_of(len(items), kind) for kind, items in lacking if items]
        return f"the server lacks {', '.join(texts)}" if texts else None


def is_file_in(folder: Path, path: Path) -> bool:
    """Return whether a path is a file below a folder, also after links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def missing_on_server(file: Path, digests: Collection[str] = ()) -> str | None:
    """Return what the server lacks of a session that has ended; mark the session if nothing.

    W&B's own mark, the file ``.synced``, only says that an upload has been tried.
    """
    problem = None
    try:
        session = Session(file)
        for delay in RETRY_DELAYS:
            time.sleep(delay)
            if (problem := session.missing(digests)) is None:
                (file.parent / COMPLETE).touch()
                break
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return problem
