"""Read the file of an offline run, with W&B's own reader."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path


def file_of(run):
    """W&B's file of the newest session of a run, of an offline one if there is one."""
    folder = Path(run) / "wandb"
    files = [*folder.glob("offline-run-*/*.wandb")] or [*folder.glob("run-*/*.wandb")]
    return max(files)


def records(run, kind):
    """The records of a kind in the file of a run, in order."""
    file = file_of(run)
    content = _read(file, file.stat().st_mtime_ns)
    return [record[kind] for record in content if record["type"] == kind]


@cache
def _read(file, _written):
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def nested(flat):
    """Make a dictionary of each group of keys such as ``a.b`` and ``a.c``."""
    tree = {}
    for path, value in flat.items():
        *outer, last = path.split(".")
        place = tree
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = value
    return tree


def history(run):
    """A dictionary for each row."""
    return [nested(record["item"]) for record in records(run, "history")]


def logged(run, key):
    """All values of one key."""
    return [row[key] for row in history(run) if key in row]


def started(run):
    """The first record of the run: id, project, group, tags, configuration."""
    return records(run, "run")[0]


def config(run):
    """The configuration with later additions."""
    tree = dict(started(run).get("config", {}).get("update", {}))
    for record in records(run, "config"):
        tree |= record["update"]
    return tree


def summary(run):
    """The last value of each key."""
    values = {}
    for record in records(run, "summary"):
        values |= record["update"]
    return values


def exit_code(run):
    return records(run, "exit")[0]["exit_code"]


def artifacts(run, kind):
    """The artifacts of a type."""
    return [artifact for artifact in records(run, "artifact") if artifact["type"] == kind]


def entries(artifact):
    """Name in the artifact -> path of the file, or "" for a reference."""
    contents = artifact["manifest"]["contents"]
    return {entry["path"]: entry.get("local_path", "") for entry in contents}


# ~ if cookiecutter.scope == "complete"
def table(run, key):
    """The rows of a logged table, images in it as dictionaries."""
    names = (entries(artifact) for artifact in artifacts(run, "run_table"))
    (path,) = [files[f"{key}.table.json"] for files in names if f"{key}.table.json" in files]
    return read_table(path)


def read_table(path):
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


# ~ endif
def media(run, name):
    """The file of a logged image, clip or cloud of points."""
    return file_of(run).parent / "files" / name
