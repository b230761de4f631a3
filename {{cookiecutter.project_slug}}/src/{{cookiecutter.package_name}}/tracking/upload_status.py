"""Compare the file in which W&B records a session of a run with what the server holds."""

import time
from collections.abc import Collection, Mapping
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
        # The times of the rows of metrics, in seconds, which identify them.
        rows = [record["item"] for record in self.recorded("history")]
        self.rows = {round(row["_timestamp"], 6) for row in rows if "_timestamp" in row}
        self.config: dict[str, Any] = {}
        for record in self.recorded("config"):
            update = record.get("update", {}).items()
            self.config |= {key: value for key, value in update if not key.startswith("_wandb")}
        logged: set[Any] = {record.get("digest") for record in self.recorded("artifact")}
        self.digests = (logged | {*digests}) - {None, ""}

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

    def missing(self) -> str | None:
        """Return what the server lacks of a session that has ended; None if it holds all of it."""
        run = self.fetch_run()
        if run is None:
            return "the server has no such run"
        unknown = run.state != "finished" and self.is_newest and self.exit_code == 0
        if run.state == "running" or unknown:
            return "the server has not received the end of the run"
        lacking = {
            "row": self.rows - (times_of_rows(run) if self.rows else set()),
            "config value": self._missing_config(run.config),
            "file": self._missing_files(run),
            "artifact": self._missing_digests(run) if self.digests else set(),
        }
        parts = []
        for kind, items in lacking.items():
            if items:
                example = f", such as {min(items)}" if kind in {"config value", "file"} else ""
                parts.append(number_of(len(items), kind) + example)
        return f"the server lacks {', '.join(parts)}" if parts else None

    def _missing_config(self, held: Mapping[str, Any]) -> set[str]:
        # A later session keeps its values. Only texts are compared: numbers may be rounded.
        texts = {key for key, value in self.config.items() if isinstance(value, str)}
        stale = {key for key in texts if self.is_newest and held.get(key) != self.config[key]}
        return (self.config.keys() - held.keys()) | stale

    def _missing_files(self, run: Any) -> set[str]:
        records = self.recorded("files")
        names = {item["path"] for record in records for item in record.get("files", [])}
        folder = self.file.parent / "files"
        there = {name for name in names if (folder / name).is_file()}
        return there - {file.name for file in run.files(per_page=1000)}

    def _missing_digests(self, run: Any) -> set[str]:
        # A data set that a run both logs and uses is listed as used only.
        held = [*run.logged_artifacts(), *run.used_artifacts()]
        digests = {artifact.digest for artifact in held}
        names = {artifact.name.partition(":")[0] for artifact in held}
        for record in self.recorded("artifact"):  # a table that was logged again has another digest
            if record.get("type") == "run_table" and record["name"] in names:
                digests.add(record.get("digest"))
        return self.digests - digests


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
