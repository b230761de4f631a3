"""Reading artifacts back, changing them, and linking them into the registry."""

import base64
import json

from .artifacts import give_aliases
from .model import Json, Link, RefusedError, State
from .nodes import (
    Member,
    artifact_node,
    by_id,
    collection_node,
    connection,
    file_url,
    find,
    members,
    membership_node,
)

# ---- reading


def artifact_by_id(state: State, args: Json) -> Json:
    artifact_id = args.get("id") or args.get("artifactID") or args["artifact_id"]
    return {"artifact": artifact_node(state, by_id(state, artifact_id))}


def membership_by_name(state: State, args: Json) -> Json:
    member = find(state, args, args["name"])
    node = membership_node(state, member) if member else None
    return {"project": {"artifactCollectionMembership": node}}


def artifact_type(state: State, args: Json) -> Json:
    member = find(state, args, args["name"])
    return {"project": {"artifact": artifact_node(state, member.artifact) if member else None}}


def artifact_files(state: State, args: Json) -> Json:
    """The files of a version with the addresses to download them from."""
    member = find(state, args, f"{args['collection']}:{args['alias']}")
    if member is None:
        return {"project": {"artifactCollection": None}}
    nodes = []
    for name, entry in member.artifact.entries.items():
        # A version made from an earlier one holds files that came with that one.
        owner = by_id(state, entry.get("birthArtifactID") or member.artifact.id)
        url = entry.get("ref") or file_url(state, owner, name)
        nodes.append({"__typename": "File", "name": name, "directUrl": url})
    found = {"artifactMembership": {"files": connection(nodes)}}
    return {"project": {"artifactCollection": {**collection_node(member), **found}}}


def one_collection(state: State, args: Json) -> Json:
    found = members(state, args["entity"], args["project"], args["name"])
    found = [member for member in found if member.artifact.type == args["type"]]
    node = collection_node(found[-1]) if found else None
    return {"project": {"artifactType": {"artifactCollection": node}}}


def collection_versions(state: State, args: Json) -> Json:
    """The versions of a collection, the newest first."""
    filters = json.loads(args.get("filters") or "{}")
    if filters not in ({}, {"state": "COMMITTED"}):
        # Answering with everything would let a wrong filter pass its test.
        raise RefusedError(f"artifact filters are not known: {filters}")
    found = members(state, args["entity"], args["project"], args["collection"])[::-1]
    if not found:
        return {"project": {"artifactType": {"artifactCollection": None}}}
    nodes = [{**artifact_node(state, member.artifact), "version": f"v{member.index}"} for member in found]
    node = {**collection_node(found[0]), "artifacts": connection(nodes)}
    return {"project": {"artifactType": {"artifactCollection": node}}}


def used_artifacts(state: State, args: Json) -> Json:
    nodes = [artifact_node(state, artifact) for artifact in state.runs[args["run"]].used]
    return {"project": {"run": {"artifacts": connection(nodes)}}}


def logged_artifacts(state: State, args: Json) -> Json:
    # An upload that was broken off is no version: the client could not read it.
    logged = [item for item in state.runs[args["run"]].logged if item.state == "COMMITTED"]
    nodes = [artifact_node(state, artifact) for artifact in logged]
    return {"project": {"run": {"artifacts": connection(nodes)}}}


# ---- changing


def _member_named(state: State, args: Json, alias: Json) -> Member:
    """The place of an artifact in one collection, where its aliases are."""
    place = (alias["entityName"], alias["projectName"], alias["artifactCollectionName"])
    for member in members(state, *place):
        if member.artifact.id == args["artifactID"]:
            return member
    raise RefusedError(f"{args['artifactID']} is not in {place}")


def add_aliases(state: State, args: Json) -> Json:
    for alias in args["aliases"]:
        give_aliases(state, _member_named(state, args, alias), [alias["alias"]])
    return {"addAliases": {"success": True}}


def delete_aliases(state: State, args: Json) -> Json:
    for alias in args["aliases"]:
        _member_named(state, args, alias).aliases.remove(alias["alias"])
    return {"deleteAliases": {"success": True}}


def update_artifact(state: State, args: Json) -> Json:
    artifact = by_id(state, args["artifactID"])
    if args.get("metadata"):
        artifact.metadata = json.loads(args["metadata"])
    if args.get("description") is not None:
        artifact.description = args["description"]
    if args.get("ttlDurationSeconds") is not None:
        artifact.ttl_seconds = args["ttlDurationSeconds"]
    artifact.tags += [tag["tagName"] for tag in args.get("tagsToAdd") or []]
    gone = [tag["tagName"] for tag in args.get("tagsToDelete") or []]
    artifact.tags = [tag for tag in artifact.tags if tag not in gone]
    return {"updateArtifact": {"artifact": artifact_node(state, artifact)}}


def link_artifact(state: State, args: Json) -> Json:
    # wandb-core writes "Id", the Python part "ID"; a draft is known by its client id only.
    artifact_id = args.get("artifactId") or args.get("artifactID")
    if not artifact_id:
        artifact_id = state.client_ids[args.get("clientId") or args["clientID"]]
    artifact = by_id(state, artifact_id)
    place = (args["entityName"], args["projectName"], args["artifactPortfolioName"])
    present = [link for link in state.links if (link.entity, link.project, link.collection) == place]
    known = [link for link in present if link.artifact is artifact]
    if known:
        link = known[0]
    else:
        index = max((link.index for link in present), default=-1) + 1
        link = Link(state.new_id("link"), *place, index, artifact)
        state.links.append(link)
    give_aliases(state, link, [given["alias"] for given in args.get("aliases") or []] + ["latest"])
    answer = {"versionIndex": link.index, "artifactMembership": membership_node(state, link)}
    return {"linkArtifact": answer}


def unlink_artifact(state: State, args: Json) -> Json:
    place = args["artifactPortfolioID"]
    state.links[:] = [
        link
        for link in state.links
        if not (link.artifact.id == args["artifactID"] and collection_node(link)["id"] == place)
    ]
    return {"unlinkArtifact": {"success": True}}


def stored_file(state: State, digest: str, name: str) -> bytes | None:
    """A file by its digest: the address the client makes up when it was not given one."""
    for artifact in state.artifacts:
        for path, entry in artifact.entries.items():
            same_name = path.rpartition("/")[2] == name
            if same_name and base64.b64decode(entry["digest"]).hex() == digest:
                return artifact.files.get(path)
    return None


OPERATIONS = {
    "AddAliases": add_aliases,
    "ArtifactByID": artifact_by_id,
    "ArtifactCreatedBy": artifact_by_id,
    "ArtifactMembershipByName": membership_by_name,
    "ArtifactType": artifact_type,
    "ArtifactUsedBy": artifact_by_id,
    "DeleteAliases": delete_aliases,
    "FetchArtifactManifest": artifact_by_id,
    "FetchLinkedArtifacts": artifact_by_id,
    "GetArtifactMembershipFileUrls": artifact_files,
    "LinkArtifact": link_artifact,
    "ProjectArtifactCollection": one_collection,
    "ProjectArtifacts": collection_versions,
    "RunInputArtifacts": used_artifacts,
    "RunOutputArtifacts": logged_artifacts,
    "UnlinkArtifact": unlink_artifact,
    "UpdateArtifact": update_artifact,
}
