"""What the stand-in remembers: plain dataclasses that a test can read."""

import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]  # what JSON and GraphQL are made of here

ENTITY = "team"
ORGANIZATION = "organization"
MANIFEST = "wandb_manifest.json"


class RefusedError(Exception):
    """A request the stand-in understands and turns down, as the real service would."""


@dataclass(eq=False)
class Run:
    """One run, as it stands after everything received so far."""

    id: str
    project: str
    entity: str = ENTITY
    name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    program: str = ""
    sweep: str = ""
    tags: list[str] = field(default_factory=list)
    raw_config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)
    system_metrics: list[Json] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    used: list["Artifact"] = field(default_factory=list)
    logged: list["Artifact"] = field(default_factory=list)
    exit_code: int | None = None
    complete: bool = False
    crashed: bool = False
    resumed: bool = False

    @property
    def config(self) -> Json:
        """The configuration as the user wrote it, without the client's own notes."""
        return {key: entry["value"] for key, entry in self.raw_config.items() if key != "_wandb" and "value" in entry}

    @property
    def argv(self) -> list[str]:
        """The arguments of the process that logged, taken from the uploaded metadata."""
        metadata: Json = json.loads(self.files.get("wandb-metadata.json", b"{}"))
        return metadata.get("args") or []

    @property
    def state(self) -> str:
        if not self.complete:
            return "crashed" if self.crashed else "running"
        return "finished" if self.exit_code == 0 else "failed"


@dataclass(eq=False)
class Artifact:
    """One version of an artifact in the collection that owns it."""

    id: str
    entity: str
    project: str
    collection: str
    type: str
    index: int
    digest: str
    description: str | None = None
    metadata: Json = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    ttl_seconds: int | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    documents: dict[str, bytes] = field(default_factory=dict, repr=False)
    state: str = "PENDING"
    logged_by: str | None = None
    base: str | None = None

    @property
    def entries(self) -> dict[str, Json]:
        """The manifest: path to digest, size and, for a reference, where it points."""
        manifest: Json = json.loads(self.documents.get(MANIFEST, b"{}"))
        return manifest.get("contents") or {}

    @property
    def artifact(self) -> "Artifact":
        """Itself, so that a version and a link to one are read in the same way."""
        return self


@dataclass(eq=False)
class Link:
    """A version as a member of another collection, for example one in the registry."""

    id: str
    entity: str
    project: str
    collection: str
    index: int
    artifact: Artifact
    aliases: list[str] = field(default_factory=list)


@dataclass
class Alert:
    """A message that would be sent to people; ``run`` is the id of the run it came from."""

    run: str
    title: str
    text: str
    level: str
    wait_seconds: float


@dataclass
class Sweep:
    """A sweep; ``runs`` holds the values handed out, by the id of the run they went to."""

    id: str
    entity: str
    project: str
    config: Json = field(default_factory=dict)
    source: str = ""
    runs: dict[str, Json] = field(default_factory=dict)
    state: str = "RUNNING"


@dataclass
class View:
    """A saved view (type "project-view") or a report (type "runs") of a project."""

    id: str
    entity: str
    project: str
    type: str
    title: str
    spec: Json = field(repr=False)


@dataclass
class State:
    """Everything received. One lock: the handlers run in several threads."""

    url: str = ""
    seed: int = 0
    run_cap: int = 3
    runs: dict[str, Run] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    sweeps: dict[str, Sweep] = field(default_factory=dict)
    views: list[View] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    slots: dict[str, tuple[dict[str, bytes], str]] = field(default_factory=dict)
    asked_to_resume: set[str] = field(default_factory=set)
    stop: set[str] = field(default_factory=set)
    client_ids: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    counter: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def new_id(self, kind: str) -> str:
        return f"{kind}-{next(self.counter)}"

    def slot(self, path: str, shelf: dict[str, bytes], key: str) -> str:
        """A presigned address: PUT there fills ``shelf[key]``, GET reads it."""
        self.slots[unquote(path)] = (shelf, key)
        return self.url + path
