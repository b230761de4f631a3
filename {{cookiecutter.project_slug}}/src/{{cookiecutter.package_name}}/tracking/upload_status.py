"""Compare the file in which W&B records a session of a run with what the server holds."""

import time
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.reading_summary import number_of
from .client import package, public_api, read_records, reason

MIN_BYTES = 64  # the file of a session that never started has only a header
RETRY_DELAYS = (0, 1, 3)  # seconds before each request, since the server shows new data late


class Session:
    """A session of a run, i.e. what a process has recorded of it in a file.

    ``digests`` are those of artifacts that the file of an online session does not record.
    """

    def __init__(self, file: Path, digests: Collection[str] = ()) -> None:
        self.file = file
        self.digests = digests
        # It exists if the server holds all of it. W&B's ``.synced`` only says that it has tried.
        self.mark = file.parent / "complete"

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records in the file; ``ValueError`` if it cannot be read."""
        return read_records(self.file)

    @cached_property
    def rows(self) -> dict[float, dict[str, Any]]:
        """The rows of metrics by their time in seconds, which identifies them."""
        items = [record["item"] for record in self.recorded("history")]
        return {round(row["_timestamp"], 6): row for row in items if "_timestamp" in row}

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process; None if it was killed."""
        codes = [record.get("exit_code", 0) for record in self.recorded("exit")]
        return codes[-1] if codes else None

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

    def lacking(self, run: Any) -> dict[str, set[Any]]:
        """Return what the server lacks: times of rows, names of files, digests of artifacts."""
        named = {item["path"] for part in self.recorded("files") for item in part.get("files", [])}
        folder, run_folder = self.file.parent / "files", self.file.parents[2]
        # Files of ``wandb.save`` are links. A file elsewhere must not be uploaded.
        files = {name for name in named if is_file_in(run_folder, folder / name)}
        known = {artifact.digest for artifact in (*run.logged_artifacts(), *run.used_artifacts())}
        logged = {artifact.get("digest") for artifact in self.recorded("artifact")} - {None, ""}
        return {
            "rows": self.rows.keys() - times_of_rows(run),
            "files": files - {file.name for file in run.files(per_page=1000)},
            "artifacts": {*self.digests, *logged} - known,
        }

    def missing(self) -> str | None:
        """Return what the server lacks of a session that has ended; None if it holds all of it."""
        run = self.fetch_run()
        if run is None:
            return "the server has no such run"
        is_newest = self.file == sessions(self.file.parents[1])[-1].file
        if run.state == "running" or (
            is_newest and run.state != "finished" and (run.state == "crashed" or not self.exit_code)
        ):
            return "the server has not received the end of the run"
        texts = [number_of(len(items), kind) for kind, items in self.lacking(run).items() if items]
        return f"the server lacks {', '.join(texts)}" if texts else None

    def check(self) -> str | None:
        """Return what the server lacks of a session that has ended; mark it if nothing."""
        problem = None
        try:
            for delay in RETRY_DELAYS:
                time.sleep(delay)
                if (problem := self.missing()) is None:
                    self.mark.touch()
                    break
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            return reason(error)
        return problem


def sessions(folder: Path) -> list[Session]:
    """Return the sessions of a run in its folder of W&B, the oldest first."""
    files = [file for file in folder.glob("*run-*/*.wandb") if file.stat().st_size > MIN_BYTES]
    return [Session(file) for file in sorted(files, key=_began)]


def _began(file: Path) -> tuple[str, bool]:
    """Return a sort key: of two in the same second, the offline session followed a failed one."""
    name = file.parent.name
    return name.removeprefix("offline-"), name.startswith("offline-")


def times_of_rows(run: Any) -> set[float]:
    """Return the times of the rows of metrics that the server holds of a run."""
    return {round(row["_timestamp"], 6) for row in run.scan_history(keys=["_timestamp"])}


def is_file_in(folder: Path, path: Path) -> bool:
    """Return whether a path is a file below a folder, also after links are followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())
