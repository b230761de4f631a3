"""Saved views and reports of a project, as wandb-workspaces sends them."""

import json

from .model import Json, State, View
from .nodes import CREATED, connection, project_node


def upsert_view(state: State, args: Json) -> Json:
    view = View(
        id=state.new_id("view"),
        entity=args["entityName"],
        project=args["projectName"],
        type=args["type"],
        title=args["displayName"],
        spec=json.loads(args["spec"]),
    )
    state.views.append(view)
    node = {
        "id": view.id,
        "type": view.type,
        "name": args["name"],
        "displayName": view.title,
        "description": args.get("description"),
        "project": {**project_node(view.entity, view.project), "entityName": view.entity},
        "spec": args["spec"],
        "updatedAt": CREATED,
    }
    return {"upsertView": {"view": node, "inserted": True}}


def projects(state: State, args: Json) -> Json:
    """The projects that hold runs."""
    names = dict.fromkeys(run.project for run in state.runs.values() if run.entity == args["entity"])
    nodes = [
        {
            **project_node(args["entity"], name),
            "entityName": args["entity"],
            "createdAt": CREATED,
            "isBenchmark": False,
            "user": None,
        }
        for name in names
    ]
    return {"models": connection(nodes)}


def internal_id(_state: State, args: Json) -> Json:
    return {"project": project_node(args["entityName"], args["projectName"])}


OPERATIONS = {
    "UpsertView2": upsert_view,
    "upsertView": upsert_view,
    "GetProjects": projects,
    "ProjectInternalId": internal_id,
}
