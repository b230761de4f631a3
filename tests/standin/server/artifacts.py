"""Logging and using artifacts: versions, manifests, files, commits."""

import json

from .model import ENTITY, MANIFEST, Artifact, Json, State
from .nodes import (
    Member,
    artifact_node,
    by_id,
    connection,
    file_url,
    manifest_url,
    members,
)


def give_aliases(state: State, member: Member, aliases: list[str]) -> None:
    """An alias names one version of a collection: the one that had it loses it."""
    for other in members(state, member.entity, member.project, member.collection):
        other.aliases[:] = [alias for alias in other.aliases if alias not in aliases]
    member.aliases.extend(dict.fromkeys(aliases))


def create_artifact(state: State, args: Json) -> Json:
    entity = args.get("entityName") or ENTITY
    # wandb-core names the one collection, the Python part a list of one.
    name = args.get("artifactCollectionName") or args["artifactCollectionNames"][0]
    project = args["projectName"]
    aliases = [given["alias"] for given in args.get("aliases") or []]
    place = (entity, project, name)
    all_versions = [a for a in state.artifacts if (a.entity, a.project, a.collection) == place]
    same = [a for a in all_versions if a.digest == args["digest"]]
    latest = [a for a in all_versions if "latest" in a.aliases]
    if same:
        artifact = same[0]
        if artifact.state == "COMMITTED":
            give_aliases(state, artifact, aliases)
    else:
        artifact = Artifact(
            id=state.new_id("artifact"),
            entity=entity,
            project=project,
            collection=name,
            type=args["artifactTypeName"],
            index=len(all_versions),
            digest=args["digest"],
            description=args.get("description"),
            metadata=json.loads(args.get("metadata") or "{}"),
            aliases=aliases,
            ttl_seconds=args.get("ttlDurationSeconds"),
            tags=[tag["tagName"] for tag in args.get("tags") or []],
            logged_by=args.get("runName"),
        )
        state.artifacts.append(artifact)
    if args.get("clientID"):
        state.client_ids[args["clientID"]] = artifact.id
    run = state.runs.get(args.get("runName") or "")
    if run and artifact not in run.logged:
        run.logged.append(artifact)
    before = {"id": latest[0].id, "versionIndex": latest[0].index} if latest else None
    node = {**artifact_node(state, artifact), "artifactSequence": {"latestArtifact": before}}
    return {"createArtifact": {"artifact": node}}


def create_manifest(state: State, args: Json) -> Json:
    artifact = by_id(state, args["artifactID"])
    artifact.base = args.get("baseArtifactID")
    return {"createArtifactManifest": _manifest_answer(state, artifact)}


def update_manifest(state: State, args: Json) -> Json:
    artifact = by_id(state, args["artifactManifestID"].removeprefix("manifest-"))
    return {"updateArtifactManifest": _manifest_answer(state, artifact)}


def _manifest_answer(state: State, artifact: Artifact) -> Json:
    manifest_id, url = f"manifest-{artifact.id}", manifest_url(state, artifact)
    file = {"id": manifest_id, "uploadUrl": url, "uploadHeaders": []}
    return {"artifactManifest": {"id": manifest_id, "file": file}}


def create_artifact_files(state: State, args: Json) -> Json:
    nodes = []
    for file in args["artifactFiles"]:
        artifact = by_id(state, file["artifactID"])
        nodes.append(
            {
                "name": file["name"],
                "storagePath": f"{artifact.id}/{file['name']}",
                "uploadUrl": file_url(state, artifact, file["name"]),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": artifact.id},
            }
        )
    return {"createArtifactFiles": {"files": connection(nodes)}}


def commit_artifact(state: State, args: Json) -> Json:
    artifact = by_id(state, args["artifactID"])
    if artifact.base:
        # An incremental artifact (a table logged bit by bit) sends only what is new in it.
        manifest = json.loads(artifact.documents[MANIFEST])
        manifest["contents"] = {**by_id(state, artifact.base).entries, **manifest["contents"]}
        artifact.documents[MANIFEST] = json.dumps(manifest).encode()
    artifact.state = "COMMITTED"
    # Only now the aliases move: a version that was never completed takes none away.
    aliases = [*artifact.aliases, "latest"]
    give_aliases(state, artifact, aliases)
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


def use_artifact(state: State, args: Json) -> Json:
    artifact = by_id(state, args["artifactID"])
    run = state.runs[args["runName"]]
    if artifact not in run.used:
        run.used.append(artifact)
    return {"useArtifact": {"artifact": artifact_node(state, artifact)}}


def client_id(state: State, args: Json) -> Json:
    server_id = state.client_ids.get(args["clientID"])
    return {"clientIDMapping": {"serverID": server_id} if server_id else None}


OPERATIONS = {
    "CreateArtifact": create_artifact,
    "CreateArtifactManifest": create_manifest,
    "UpdateArtifactManifest": update_manifest,
    "CreateArtifactFiles": create_artifact_files,
    "CommitArtifact": commit_artifact,
    "UseArtifact": use_artifact,
    "ClientIDMapping": client_id,
}
