"""Carry out the actions of a run that were postponed for lack of a server."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..run.atomic_files import write_json
from ..run.folder import Run
from .client import package, public_api, reason
from .pending import PENDING, pending
from .registry import link
from .upload_status import Session, is_file_in, sessions

TABLE = ".table.json"  # how the name of a table's file ends


def do_pending(run: Run) -> list[str]:
    """Carry out the pending actions of an uploaded run.

    A line is returned for each action that failed; these actions stay pending.
    """
    path, failed, problems = run.folder / PENDING, [], []
    try:
        # The settings do not tell where it is: it may have been resumed without tracking since.
        files = sessions(run.folder / "wandb")
        remote = Session(files[-1]).fetch_run() if files else None
    except Exception as error:  # noqa: BLE001 - wandb raises many kinds
        return [f"{path}: {reason(error)}"]
    if remote is None:
        return [f"{path}: the server has no run that {run.folder / 'wandb'} records"]
    for action in pending(run):
        try:
            _do(run, remote, **action)
        except Exception as error:  # noqa: BLE001 - wandb raises many kinds
            failed.append(action)
            problems.append(f"{path}: {action['action']}: {reason(error)}")
    if failed:
        write_json(path, failed)
    else:
        path.unlink()
    return problems


def _do(run: Run, remote: Any, action: str, artifact: str, **arguments: Any) -> None:
    """Carry out an action, as described in ``postpone``, of the run ``remote`` on the server."""
    api = public_api({"project": remote.project, "entity": remote.entity})
    if action == "link":
        print(f"  {link(api, api.artifact(artifact), **arguments)}")
    elif action == "use":
        remote.use_artifact(api.artifact(artifact))
    elif action == "data":
        from .lineage import log_data_later  # noqa: PLC0415 - it imports PyTorch

        with resumed_run(remote, run.folder / "wandb") as resumed:
            log_data_later(run, resumed, arguments["version"])
    else:
        if arguments["digest"] not in {held.digest for held in remote.logged_artifacts()}:
            with resumed_run(remote, run.folder / "wandb") as resumed:
                log_again(resumed, run.folder, {"artifact": artifact, **arguments})
        keep_latest(remote)  # also if an earlier attempt was killed before


@contextmanager
def resumed_run(remote: Any, folder: Path) -> Iterator[Any]:
    """Continue a run on the server, and end it with the exit code of its newest session.

    W&B derives the state of the run from the code. ``folder`` is W&B's folder of the run.
    """
    wandb, newest = package(), Session(sessions(folder)[-1])
    resumed = wandb.init(
        entity=remote.entity,
        project=remote.project,
        id=remote.id,
        resume="must",
        mode="online",  # also where WANDB_MODE records runs offline
        dir=folder / "data",
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        yield resumed
    finally:
        resumed.finish(exit_code=newest.exit_code)


def as_stored(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an artifact in the records of a run as ``log_again`` takes it."""
    entries = record.get("manifest", {}).get("contents", [])
    return {
        "artifact": record["name"],
        "kind": record["type"],
        "aliases": record.get("aliases", []),
        "facts": json.loads(record.get("metadata") or "{}"),
        "files": {item["path"]: item["local_path"] for item in entries if item.get("local_path")},
        "references": {item["path"]: item["ref"] for item in entries if item.get("ref")},
    }


def log_again(resumed: Any, folder: Path, stored: Mapping[str, Any]) -> None:
    """Log an artifact of a continued run, or leave it out if its files are not what they were.

    ``stored`` has the name ``artifact``, the type ``kind``, the metadata ``facts`` and ``aliases``.
    ``files`` and ``references`` map paths in the artifact to files below the run folder and to
    addresses. ``digest`` is given where the files may change; a table has its ``row`` and maybe a
    ``chart``, the arguments of ``wandb.plot_table``.
    """
    name, files = stored["artifact"], {key: folder / file for key, file in stored["files"].items()}
    for path in files.values():
        if not is_file_in(folder, path):  # such as a checkpoint that is not among the best now
            print(f"  {path.name} is not in the run folder: this version of {name} is not logged.")
            return
    if stored["kind"] == "run_table":  # W&B itself makes such an artifact from a logged table
        (name,) = (path.removesuffix(TABLE) for path in files if path.endswith(TABLE))
        with TemporaryDirectory() as copies:
            value = _restored_table(files, Path(copies))
            if stored.get("chart"):
                name = name.removesuffix("_table")
                value = package().plot_table(data_table=value, **stored["chart"])
            resumed.log({name: value, **stored.get("row", {})})
        return
    artifact = package().Artifact(name, stored["kind"], metadata=stored["facts"])
    for path, file in files.items():
        artifact.add_file(str(file), name=path)
    for path, address in stored.get("references", {}).items():
        artifact.add_reference(address, name=path, checksum=False)
    if artifact.digest != stored.get("digest", artifact.digest):  # such as an earlier best one
        print(f"  {next(iter(files))} has changed since: this version of {name} is not logged.")
        return
    api, epoch = public_api(), artifact.metadata.get("epoch")

    def is_kept(alias: str) -> bool:  # by a version of a later epoch
        version = f"{resumed.entity}/{resumed.project}/{name}:{alias}"
        if epoch is None or not api.artifact_exists(version):
            return False
        return bool(api.artifact(version).metadata.get("epoch", -1) > epoch)

    aliases = [alias for alias in stored["aliases"] if not is_kept(alias)]
    resumed.log_artifact(artifact, aliases=aliases or None).wait()


def _restored_table(files: Mapping[str, Path], copies: Path) -> Any:
    """Return the ``wandb.Table`` in the files of an artifact; they are copied into a folder."""
    wandb = package()
    paths: dict[str, str] = {}
    for number, (path, file) in enumerate(files.items()):
        # W&B takes the format of an image from its suffix. The other parts may be a stranger's.
        paths[path] = str(shutil.copyfile(file, copies / f"{number}{Path(path).suffix}"))

    def read(path: str) -> Any:
        return json.loads(Path(paths[path]).read_text(encoding="utf-8"))

    def cell(value: Any) -> Any:
        if not isinstance(value, dict) or value.get("_type") != "image-file":
            return value
        # ~ if cookiecutter.task == "classification"
        return wandb.Image(paths[value["path"]], caption=value.get("caption"))

    # ~ else
        classes = read(value["classes"]["path"])["class_set"] if "classes" in value else []
        labels = {item["id"]: item["name"] for item in classes}
        # ~ endif
        # ~ if cookiecutter.task == "detection"
        drawn = value.get("boxes", {}).items()
        over = {key: {"box_data": boxes, "class_labels": labels} for key, boxes in drawn}
        # ~ elif cookiecutter.task == "segmentation"
        over = {
            key: {"path": paths[mask["path"]], "class_labels": labels}
            for key, mask in value.get("masks", {}).items()
        }
        # ~ endif
        # ~ if cookiecutter.task != "classification"
        return wandb.Image(
            paths[value["path"]],
            caption=value.get("caption"),
            classes=wandb.Classes(classes) if classes else None,
            # ~ if cookiecutter.task == "detection"
            boxes=over or None,
            # ~ elif cookiecutter.task == "segmentation"
            masks=over or None,
            # ~ endif
        )

    # ~ endif
    (content,) = (read(path) for path in files if path.endswith(TABLE))
    rows = [[cell(value) for value in row] for row in content["data"]]
    return wandb.Table(columns=content["columns"], data=rows)


def keep_latest(remote: Any) -> None:
    """Give the alias ``latest``, which the last upload has, to the model of a run's last epoch."""
    models = [held for held in remote.logged_artifacts() if held.type == "model"]
    models.sort(key=lambda held: (held.metadata.get("epoch", -1), int(held.version[1:])))
    if models and "latest" not in models[-1].aliases:
        models[-1].aliases.append("latest")
        models[-1].save()
