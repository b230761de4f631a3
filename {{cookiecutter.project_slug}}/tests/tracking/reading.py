"""Read an offline run back from its file."""

import json
import struct

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK, CHUNK_HEADER = 7, 32768, 7


def records(run):
    """The records of the one offline run below ``run``, in order.

    The file is LevelDB's log format behind W&B's own 7-byte header.
    """
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    data, position, pieces = path.read_bytes(), HEADER, b""
    assert data.startswith(b":W&B")
    while position + CHUNK_HEADER <= len(data):
        if BLOCK - position % BLOCK < CHUNK_HEADER:
            position += BLOCK - position % BLOCK
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        position += CHUNK_HEADER
        pieces = (
            data[position : position + size]
            if kind in {1, 2}
            else pieces + data[position : position + size]
        )
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
    return [as_dict(record.history.item) for record in records(run) if record.HasField("history")]


def started(run):
    """The record that opens the run: id, project, group, tags, config ..."""
    return next(record.run for record in records(run) if record.HasField("run"))


def exit_code(run):
    return next(record.exit.exit_code for record in records(run) if record.HasField("exit"))
