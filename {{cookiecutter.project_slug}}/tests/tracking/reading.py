"""Read an offline run back from its file."""

import json
import struct
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK, CHUNK_HEADER = 7, 32768, 7


def file_of(run):
    """The file of the run below the run folder; the offline one, if there had been a try online."""
    folder = Path(run) / "wandb"
    (path,) = [*folder.glob("offline-run-*/*.wandb")] or folder.glob("run-*/*.wandb")
    return path


def records(run):
    """The records of the one run below ``run``, in order; a torn end is left out.

    The file is LevelDB's log format behind W&B's own 7-byte header.
    """
    data, position, pieces = file_of(run).read_bytes(), HEADER, b""
    assert data.startswith(b":W&B")
    while position + CHUNK_HEADER <= len(data):
        if BLOCK - position % BLOCK < CHUNK_HEADER:
            position += BLOCK - position % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        position += CHUNK_HEADER
        if kind == 0 or position + size > len(data):
            return
        chunk = data[position : position + size]
        pieces = chunk if kind in {1, 2} else pieces + chunk
        position += size
        if kind in {1, 4}:
            yield Record.FromString(pieces)


def as_dict(items):
    """Values by key; ``a.b`` in the file is a dictionary within a dictionary."""
    tree = {}
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = tree
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return tree


def history(run):
    """A dictionary for each row."""
    return [as_dict(record.history.item) for record in records(run) if record.HasField("history")]


def logged(run, key):
    """All values of one key."""
    return [row[key] for row in history(run) if key in row]


def summary(run):
    """The last value of each key."""
    updates = {}
    for record in records(run):
        if record.HasField("summary"):
            updates |= as_dict(record.summary.update)
    return updates


def started(run):
    """The record that opens the run: id, project, group, tags, config ..."""
    return next(record.run for record in records(run) if record.HasField("run"))


def config(run):
    """The configuration with all that was added later."""
    tree = as_dict(started(run).config.update)
    for record in records(run):
        if record.HasField("config"):
            tree |= as_dict(record.config.update)
    return tree


def exit_code(run):
    return next(record.exit.exit_code for record in records(run) if record.HasField("exit"))


# ~ if cookiecutter.scope == "complete"
def alerts(run):
    return [record.alert for record in records(run) if record.HasField("alert")]


# ~ endif
def artifacts(run, kind):
    """The artifacts of one type, each once."""
    found = [record.artifact for record in records(run) if record.HasField("artifact")]
    return [one for one in found if one.type == kind]


def entries(artifact):
    """Name in the artifact -> file on disk, or "" for what is only referred to."""
    return {entry.path: entry.local_path for entry in artifact.manifest.contents}


def table(run, key):
    """The columns and rows of a logged table, images in it as dictionaries."""
    for artifact in artifacts(run, "run_table"):
        for name, path in entries(artifact).items():
            if name == f"{key}.table.json":
                return read_table(path)
    raise AssertionError(f"no table {key}")


def read_table(path):
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def media(run, name):
    """The file of a logged picture, clip or cloud."""
    return file_of(run).parent / "files" / name
