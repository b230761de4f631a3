"""Finding artifacts, and the shapes in which runs and artifacts are answered.

Each shape has every field that some query asks for: the client ignores those it did not ask for.
"""

import json
from urllib.parse import quote

from .model import MANIFEST, Artifact, Json, Link, RefusedError, Run, State

CREATED = "2026-01-01T00:00:00Z"
LAST_PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
KEPT_FOREVER = -2  # what the client sends and reads for an artifact without an end
Member = Artifact | Link


def connection(nodes: list[Json]) -> Json:
    """A GraphQL list, always on one page."""
    edges = [{"node": node, "cursor": None, "version": node.get("version")} for node in nodes]
    return {"edges": edges, "pageInfo": LAST_PAGE, "totalCount": len(nodes)}


# ---- looking things up


def members(state: State, entity: str, project: str, collection: str) -> list[Member]:
    """What a collection holds: the versions logged into it, or the links made to it."""
    place = (entity, project, collection)
    everywhere: list[Member] = [*state.artifacts, *state.links]
    return [
        member
        for member in everywhere
        if (member.entity, member.project, member.collection) == place and member.artifact.state == "COMMITTED"
    ]


def find(state: State, args: Json, name: str) -> Member | None:
    """``collection:alias`` or ``collection:v3``."""
    collection, _, alias = name.partition(":")
    for member in members(state, args["entity"], args["project"], collection):
        if alias in (*member.aliases, f"v{member.index}"):
            return member
    return None


def by_id(state: State, artifact_id: str) -> Artifact:
    for artifact in state.artifacts:
        if artifact.id == artifact_id:
            return artifact
    raise RefusedError(f"no artifact {artifact_id}")


# ---- what is answered


def project_node(entity: str, project: str) -> Json:
    return {
        "__typename": "Project",
        "id": f"{entity}/{project}",
        "internalId": "1",
        "name": project,
        "entity": {"id": entity, "name": entity},
    }


def run_node(run: Run) -> Json:
    """Every field of a run that the client asks for somewhere."""
    return {
        "__typename": "Run",
        "id": run.id,
        "projectId": "1",
        "name": run.id,
        "displayName": run.name,
        "description": run.notes,
        "notes": run.notes,
        "tags": run.tags,
        "group": run.group,
        "jobType": run.job_type,
        "sweepName": run.sweep or None,
        "state": run.state,
        "config": json.dumps(run.raw_config),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "commit": None,
        "readOnly": False,
        "createdAt": CREATED,
        "heartbeatAt": CREATED,
        "user": {"name": "tester", "username": "tester"},
        "historyKeys": {"lastStep": max((row.get("_step", 0) for row in run.history), default=-1)},
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.system_metrics),
        "logLineCount": len(run.output),
        "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
        "eventsTail": json.dumps([json.dumps(row) for row in run.system_metrics[-1:]]),
        "wandbConfig": json.dumps({"t": run.raw_config.get("_wandb", {}).get("value", {})}),
        "project": project_node(run.entity, run.project),
    }


def collection_node(member: Member) -> Json:
    return {
        "__typename": "ArtifactPortfolio" if isinstance(member, Link) else "ArtifactSequence",
        "id": f"{member.entity}/{member.project}/{member.collection}",
        "name": member.collection,
        "description": None,
        "createdAt": CREATED,
        "updatedAt": CREATED,
        "project": project_node(member.entity, member.project),
        "type": {"name": member.artifact.type},
        "tags": connection([]),
        "digestAlgorithm": None,
    }


def alias_nodes(member: Member) -> list[Json]:
    return [
        {
            "__typename": "ArtifactAlias",
            "id": f"{member.id}:{alias}",
            "alias": alias,
            "artifactCollection": collection_node(member),
        }
        for alias in member.aliases
    ]


def artifact_node(state: State, artifact: Artifact) -> Json:
    author = state.runs.get(artifact.logged_by or "")
    places: list[Member] = [artifact, *(link for link in state.links if link.artifact is artifact)]
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "version": f"v{artifact.index}",
        "versionIndex": artifact.index,
        "artifactSequence": collection_node(artifact),
        "artifactType": {"name": artifact.type},
        "description": artifact.description,
        "metadata": json.dumps(artifact.metadata),
        "ttlDurationSeconds": artifact.ttl_seconds or KEPT_FOREVER,
        "ttlIsInherited": artifact.ttl_seconds is None,
        "tags": [{"__typename": "Tag", "id": tag, "name": tag} for tag in artifact.tags],
        "historyStep": None,
        "state": artifact.state,
        "size": sum(entry.get("size", 0) for entry in artifact.entries.values()),
        "digest": artifact.digest,
        "digestAlgorithm": None,
        "commitHash": None,
        "fileCount": len(artifact.entries),
        "createdAt": CREATED,
        "updatedAt": None,
        "aliases": [node for place in places for node in alias_nodes(place)],
        "artifactMemberships": connection([_bare_membership(place) for place in places]),
        "currentManifest": {"file": {"directUrl": manifest_url(state, artifact)}},
        "createdBy": run_node(author) if author else None,
        "usedBy": connection([run_node(r) for r in state.runs.values() if artifact in r.used]),
    }


def _bare_membership(member: Member) -> Json:
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": f"membership-{member.id}",
        "versionIndex": member.index,
        "createdAt": CREATED,
        "aliases": alias_nodes(member),
        "artifactCollection": collection_node(member),
    }


def membership_node(state: State, member: Member) -> Json:
    return {**_bare_membership(member), "artifact": artifact_node(state, member.artifact)}


def manifest_url(state: State, artifact: Artifact) -> str:
    return state.slot(f"/storage/{artifact.id}.manifest", artifact.documents, MANIFEST)


def file_url(state: State, artifact: Artifact, path: str) -> str:
    return state.slot(f"/storage/{artifact.id}/{quote(path)}", artifact.files, path)
