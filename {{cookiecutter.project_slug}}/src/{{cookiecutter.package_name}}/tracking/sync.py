"""Upload the runs in a folder that the server does not hold completely.

``wandb sync`` sends rows that the server has, and passes over files that are lost. This command
asks the server first, lets ``wandb sync`` upload the sessions that it does not know, and sends the
missing rows and files of others. Then it links models and records which artifacts were used.
"""

import argparse
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..run.atomic_files import write_json
from ..run.folder import Run
from ..run.signals import interruptible
from .client import installed, package, public_api, reason, wandb_command
from .registry import PENDING, link, pending
from .upload_status import Session, is_file_in, sessions, times_of_rows

RECENT_SECONDS = 60  # a file changed since then, without an exit record, is a running run


def main() -> None:
    """Run the command ``wandb-sync``."""
    parser = argparse.ArgumentParser("wandb-sync", description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, default=Path("runs"), help="the runs' folder")
    help_again = "also ask for the runs that the server had completely"
    parser.add_argument("--again", action="store_true", help=help_again)
    given = parser.parse_args()
    if not installed():
        sys.exit("\nwandb-sync needs the package wandb. Install it: uv sync\n")
    if not given.runs.is_dir():
        sys.exit(f"\n{given.runs} is not a folder. Name the folder of the runs: wandb-sync runs\n")
    with interruptible():
        sys.exit(1 if sync(given.runs, again=given.again) else 0)


def sync(runs: Path, *, again: bool = False) -> list[str]:
    """Upload each run with a session that is not marked as complete, then do its pending actions.

    With ``again``, the marks are ignored: the server may have lost what it had. A line is returned
    for each run or action that failed, with the reason.
    """
    uploads: list[str | None] = []
    remaining = []
    for folder in sorted(runs.glob("*/wandb")):
        recorded, problem = sessions(folder), None
        if due := [session for session in recorded if again or not session.mark.exists()]:
            print(f"  {folder.parent}")
            try:
                # Summary and state of the run are those of the end of the newest session.
                problem = upload([*dict.fromkeys([*due, recorded[-1]])], recorded)
            except Exception as error:  # noqa: BLE001 - wandb raises many kinds
                problem = reason(error)
            uploads.append(problem)
        if problem is None:
            remaining += do_pending(Run(folder.parent), recorded)
        else:
            remaining.append(f"{folder.parent}: {problem}")
    print(f"{uploads.count(None)} of {len(uploads)} runs uploaded.")
    if remaining:
        print("To be done:", *remaining, sep="\n  ")
    return remaining


def upload(due: list[Session], recorded: list[Session]) -> str | None:
    """Upload what the server lacks of the sessions ``due`` among all ``recorded`` ones of a run.

    The reason is returned if it is not possible.
    """
    newest = recorded[-1]
    if newest.exit_code is None and time.time() - newest.file.stat().st_mtime < RECENT_SECONDS:
        return "it seems to be still running"
    for session in due:
        session.mark.unlink(missing_ok=True)
        run = session.fetch_run()
        if run and is_another(run, recorded):
            return (
                f"the server has another run with the id {run.id}. To upload this one with an id "
                f"of its own: uv run wandb sync --id {run.id}-2 {session.file.parent}"
            )
        lacking = session.lacking(run) if run else {}
        if not run or lacking["rows"] == session.rows.keys() or lacking["artifacts"]:
            if lost := lost_files(session):  # wandb would upload the rest
                return f"{len(lost)} of its files are missing in its folder, such as {lost[0]}"
            upload_whole(session, run, newest)
        elif any(lacking.values()) or session.missing():
            send_missing(session, lacking, run, newest)
        if problem := session.check():
            return problem
    return None


def is_another(run: Any, recorded: list[Session]) -> bool:
    """Return whether the run on the server has rows, but none of the sessions in a folder.

    A run that was trained elsewhere and is resumed here has no session in common with it, either.
    """
    if any(part.get("update", {}).get("resume") for part in recorded[0].recorded("config")):
        return False
    held = times_of_rows(run)
    return bool(held) and all(held.isdisjoint(session.rows) for session in recorded)


def lost_files(session: Session) -> list[str]:
    """Return the paths of files in artifacts that are not in the run folder any more.

    Files elsewhere are not uploaded, since the records may be a stranger's.
    """
    manifests = [artifact.get("manifest", {}) for artifact in session.recorded("artifact")]
    entries = [entry for manifest in manifests for entry in manifest.get("contents", [])]
    paths = filter(None, (entry.get("local_path") for entry in entries))
    return [path for path in paths if not is_file_in(session.file.parents[2], Path(path))]


def upload_whole(session: Session, run: Any | None, newest: Session) -> None:
    """Upload a session by ``wandb sync``; the artifacts of later sessions keep their aliases."""
    held = list(run.logged_artifacts()) if run and session is not newest else []
    aliases = {artifact.qualified_name: artifact.aliases for artifact in held}
    wandb_command("sync", "--include-online", "--include-synced", str(session.file.parent))
    for name, kept in aliases.items():
        artifact = public_api().artifact(name)
        artifact.aliases = sorted({*artifact.aliases, *kept})
        artifact.save()


def send_missing(
    session: Session, lacking: Mapping[str, Collection[Any]], run: Any, newest: Session
) -> None:
    """Send the rows and files that the server lacks of a session, and the end of the run."""
    folder = session.file.parent / "files"
    resumed = package().init(
        entity=run.entity,
        project=run.project,
        id=run.id,
        resume="must",
        mode="online",  # also where WANDB_MODE records runs offline
        dir=session.file.parents[1] / "data",
        settings=package().Settings(silent=True, console="off"),
    )
    try:
        for record in newest.recorded("config"):
            own = {key: value for key, value in record.get("update", {}).items() if key[0] != "_"}
            resumed.config.update(own, allow_val_change=True)
        for moment in sorted(lacking["rows"]):
            resumed.log(_unflattened(session.rows[moment]))
        for name in sorted(lacking["files"]):
            resumed.save(str(folder / name), base_path=str(folder), policy="now")
        summary: dict[str, Any] = {}
        for record in newest.recorded("summary"):
            summary |= _unflattened(record.get("update", {}))
            for removed in record.get("remove", []):
                summary.pop(removed["key"], None)
        resumed.summary.update(summary)
        if "failure" in resumed.summary.keys() - summary.keys():  # of an earlier session
            del resumed.summary["failure"]
    finally:
        resumed.finish(exit_code=1 if newest.exit_code is None else newest.exit_code)


def _unflattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without W&B's own values, in which images, tables and the like are mappings.

    W&B's reader prints ``{"a": {"_type": "image-file", "path": ...}}`` as ``a._type`` and
    ``a.path``.
    """
    media = [key.removesuffix("._type") for key in row if key.endswith("._type")]
    values: dict[str, Any] = {name: {} for name in media}
    for key, value in row.items():
        name = next((name for name in media if key.startswith(f"{name}.")), None)
        if name is not None:
            values[name][key.removeprefix(f"{name}.")] = value
        elif key.partition(".")[0] not in {"_step", "_runtime", "_wandb"}:
            values[key] = value
    return values


def do_pending(run: Run, recorded: list[Session]) -> list[str]:
    """Carry out the pending actions of an uploaded run; a line is returned for each that failed."""
    path, failed, problems = run.folder / PENDING, [], []
    for action in pending(run):
        try:
            # The settings do not tell where it is: it may have been resumed without tracking since.
            remote: Any = recorded[-1].fetch_run() if recorded else None
            if remote is None:
                raise UsageError("the server has no such run")
            api = public_api({"project": remote.project, "entity": remote.entity})
            words = {**action}
            kind, artifact = words.pop("action"), api.artifact(words.pop("artifact"))
            if kind == "use":
                remote.use_artifact(artifact)
            else:
                print(f"  {link(api, artifact, **words)}")
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{path}: {action['action']}: {reason(error)}")
    if failed:
        write_json(path, failed)
    else:
        path.unlink(missing_ok=True)
    return problems
