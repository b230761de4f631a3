"""From the name of a GraphQL operation to the function that answers it."""

import re

from . import artifacts, runs, sweeps, versions, views
from .model import ENTITY, ORGANIZATION, Json, RefusedError, State


def viewer(_state: State, _args: Json) -> Json:
    return {
        "viewer": {
            "__typename": "User",
            "id": "tester",
            "name": "tester",
            "username": "tester",
            "entity": ENTITY,
            "email": None,
            "admin": False,
            "flags": "{}",
            "deletedAt": None,
            "apiKeys": {"edges": []},
            "teams": {"edges": [{"node": {"name": ENTITY}}]},
        }
    }


def features(_state: State, _args: Json) -> Json:
    # Only what an answer here relies on; without the rest the client takes its simpler ways.
    names = ["ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE", "CLIENT_IDS", "ARTIFACT_TAGS"]
    return {"serverInfo": {"features": [{"name": name, "isEnabled": True} for name in names]}}


def entity(_state: State, _args: Json) -> Json:
    """Every entity belongs to the one organization, which holds the registry."""
    organization = {
        "name": ORGANIZATION,
        "orgEntity": {"name": ORGANIZATION},
        "coreWeaveOrganizationId": None,
    }
    return {"entity": {"organization": organization, "user": None}}


def project_access(_state: State, _args: Json) -> Json:
    return {"project": {"readOnly": False}}


OPERATIONS = {
    **runs.OPERATIONS,
    **artifacts.OPERATIONS,
    **versions.OPERATIONS,
    **sweeps.OPERATIONS,
    **views.OPERATIONS,
    "Viewer": viewer,
    "GetViewer": viewer,
    "GetDefaultEntity": viewer,
    "ServerFeaturesQuery": features,
    "OrganizationCoreWeaveOrganizationID": entity,
    "FetchOrgEntityFromEntity": entity,
    "FetchOrgInfoFromEntity": entity,
    "IsProjectReadOnly": project_access,
}


def answer(state: State, request: Json) -> Json:
    """Answer one GraphQL request. Whatever is not known is an error, and is remembered."""
    # wandb-core names the operation beside the query, the Python part only inside it.
    match = re.search(r"\b(?:query|mutation)\s+(\w+)", request["query"])
    name = request.get("operationName") or (match[1] if match else "an operation without a name")
    if name not in OPERATIONS:
        state.unknown.append(name)
        return _error(f"the stand-in does not know {name}")
    variables = request.get("variables") or {}
    # Some mutations wrap their arguments in "input", the same ones from elsewhere do not.
    args = {**variables, **(variables.get("input") or {})}
    try:
        data = OPERATIONS[name](state, args)
    except RefusedError as error:
        return _error(f"{name}: {error}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A request of a shape not expected here. The test shall see it, not only the client.
        state.unknown.append(f"{name}: {error!r}")
        return _error(state.unknown[-1])
    # The Python part reads the outcome of a mutation under the name "result".
    return {"data": {**data, "result": next(iter(data.values()))}}


def _error(message: str) -> Json:
    return {"data": None, "errors": [{"message": message}]}
