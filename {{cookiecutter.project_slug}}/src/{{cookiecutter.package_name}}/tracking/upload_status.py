"""Compare the file in which W&B records a session of a run with what the server holds."""

import time
from collections.abc import Collection, Set
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
    """A session of a run, as its file records it.

    ``digests`` are those of artifacts that the session has logged and the file may not record.
    ``ValueError`` is raised if the file cannot be read.
    """

    def __init__(self, file: Path, digests: Collection[str] = ()) -> None:
        self.file = file
        self.records = read_records(file)
        self.is_newest = [file] == sessions(file.parents[1])[-1:]
        codes = [record.get("exit_code", 0) for record in self.recorded("exit")]
        self.has_ended = bool(codes)
        self.exit_code = codes[-1] if codes else 1  # 1 if the session was killed
        # The rows of metrics by their time in seconds, which identifies them.
        items = [record["item"] for record in self.recorded("history")]
        self.rows = {round(row["_timestamp"], 6): row for row in items if "_timestamp" in row}
        self.config: dict[str, Any] = {}
        for record in self.recorded("config"):
            update = record.get("update", {}).items()
            self.config |= {key: value for key, value in update if not key.startswith("_wandb")}
        logged: set[Any] = {record.get("digest") for record in self.recorded("artifact")}
        self.digests = (logged | {*digests}) - {None, ""}

    def recorded(self, kind: str) -> list[dict[str, Any]]:
        """Return the content of the records of a kind."""
        return [record[kind] for record in self.records if kind in record]

    def alerts_after(self, held: Set[float]) -> list[dict[str, Any]]:
        """Return the alerts after the last row that the server holds, given their times.

        The server does not tell which alerts it has received.
        """
        alerts: list[dict[str, Any]] = []
        for record in self.records:
            if round(record.get("history", {}).get("item", {}).get("_timestamp", 0), 6) in held:
                alerts = []
            if "alert" in record:
                alerts.append(record["alert"])
        return alerts

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

    def end_has_arrived(self, run: Any) -> bool:
        """Return whether the server knows how the session has ended, if it is the newest."""
        unknown = run.state != "finished" and self.is_newest and self.exit_code == 0
        return run.state != "running" and not unknown

    def lacking(self, run: Any) -> dict[str, Any]:
        """Return what the server lacks: rows by time, config values and files by name, digests."""
        held = run.config
        # A later session keeps its values. Only texts are compared: numbers may be rounded.
        stale = self.is_newest and any(
            held.get(key) != value for key, value in self.config.items() if isinstance(value, str)
        )
        records = self.recorded("files")
        names = {item["path"] for record in records for item in record.get("files", [])}
        folder, run_folder = self.file.parent / "files", self.file.parents[2]
        # Files of ``wandb.save`` are links. A file elsewhere must not be uploaded.
        files = {
            name
            for name in names
            if ".." not in Path(name).parts and is_file_in(run_folder, folder / name)
        }
        return {
            "rows": self.rows.keys() - (times_of_rows(run) if self.rows else set()),
            "config values": {
                key: value for key, value in self.config.items() if stale or key not in held
            },
            "files": files - {file.name for file in run.files(per_page=1000)},
            "artifacts": self._missing_digests(run) if self.digests else set(),
        }

    def _missing_digests(self, run: Any) -> set[str]:
        # A data set that a run both logs and uses is listed as used only.
        held = [*run.logged_artifacts(), *run.used_artifacts()]
        digests = {artifact.digest for artifact in held}
        names = {artifact.name.partition(":")[0] for artifact in held}
        for record in self.recorded("artifact"):  # a table that was logged again has another digest
            if record.get("type") == "run_table" and record["name"] in names:
                digests.add(record.get("digest"))
        return self.digests - digests

    def missing(self) -> str | None:
        """Return what the server lacks of a session that has ended; None if it holds all of it."""
        run = self.fetch_run()
        if run is None:
            return "the server has no such run"
        if not self.end_has_arrived(run):
            return "the server has not received the end of the run"
        lacking = []
        for kind, items in self.lacking(run).items():
            if items:
                example = f", such as {min(items)}" if kind in {"config values", "files"} else ""
                lacking.append(number_of(len(items), kind) + example)
        return f"the server lacks {', '.join(lacking)}" if lacking else None


def times_of_rows(run: Any) -> set[float]:
    """Return the times of the rows that the server holds of a run."""
    return {round(row["_timestamp"], 6) for row in run.scan_history(keys=["_timestamp"])}


def is_file_in(folder: Path, path: Path) -> bool:
    """Return whether a path is a file below a folder, also after links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def missing_on_server(file: Path, digests: Collection[str] = ()) -> str | None:
    """Return what the server lacks of a session that has ended; mark the session if nothing.

    W&B's own mark, the file ``.synced``, only says that an upload has been tried. The arguments
    are those of ``Session``.
    """
    problem = None
    try:
        session = Session(file, digests)
        for delay in RETRY_DELAYS:
            time.sleep(delay)
            if (problem := session.missing()) is None:
                (file.parent / COMPLETE).touch()
                break
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return reason(error)
    return problem
