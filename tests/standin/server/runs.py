"""Operations on runs: creating and resuming them, their history, files and alerts."""

import json
from typing import Any
from urllib.parse import quote

from .model import ENTITY, Alert, Json, RefusedError, Run, State
from .nodes import CREATED, connection, project_node, run_node


def upsert_run(state: State, args: Json) -> Json:
    """Create a run, or change one; only the fields that are sent are changed."""
    run_id = args.get("name") or args["id"]
    inserted = run_id not in state.runs
    if inserted:
        project = args.get("project") or "uncategorized"
        state.runs[run_id] = Run(run_id, project, args.get("entity") or ENTITY, run_id)
    run = state.runs[run_id]
    if run_id in state.asked_to_resume:
        state.asked_to_resume.remove(run_id)
        run.resumed, run.complete, run.crashed, run.exit_code = True, False, False, None
    changes = {
        "name": args.get("displayName") or args.get("display_name"),
        "group": args.get("groupName"),
        "job_type": args.get("jobType"),
        "notes": args.get("notes"),
        "program": args.get("program"),
        "sweep": args.get("sweep"),
        "tags": args.get("tags"),
        "raw_config": json.loads(args["config"]) if args.get("config") else None,
        "summary": json.loads(args["summaryMetrics"]) if args.get("summaryMetrics") else None,
    }
    for attribute, value in changes.items():
        if value is not None:
            setattr(run, attribute, value)
    return {"upsertBucket": {"bucket": run_node(run), "inserted": inserted}}


def resume_status(state: State, args: Json) -> Json:
    run = state.runs.get(args["name"])
    project = project_node(args.get("entity") or ENTITY, args.get("project") or "uncategorized")
    if run is None:
        return {"model": {**project, "bucket": None}}
    # With resume="never" the client stops here, so it is resumed only when it goes on.
    state.asked_to_resume.add(run.id)
    return {"model": {**project, "bucket": run_node(run)}}


def file_stream(state: State, run_id: str, body: Json) -> Json:
    """Append what the client streams while the run goes on: lines at an offset."""
    run = state.runs[run_id]
    streams: dict[str, list[Any]] = {
        "wandb-history.jsonl": run.history,
        "wandb-events.jsonl": run.system_metrics,
        "output.log": run.output,
    }
    for name, chunk in body.get("files", {}).items():
        lines, offset = chunk["content"], chunk["offset"]
        if name == "wandb-summary.json":
            run.summary = json.loads(lines[-1])
            continue
        rows = streams[name]
        if offset > len(rows):
            raise RefusedError(f"{name}: a chunk for line {offset}, but only {len(rows)} lines")
        new = lines if name == "output.log" else [json.loads(line) for line in lines]
        rows[offset : offset + len(new)] = new
    if body.get("complete"):
        run.complete, run.exit_code = True, body.get("exitcode", 0)
    return {"stopped": run_id in state.stop}


def _find(state: State, args: Json) -> Run:
    run = state.runs.get(args.get("name") or args.get("runName") or args["run"])
    if run is None or (run.entity, run.project) != (args["entity"], args["project"]):
        raise RefusedError("no such run")
    return run


def create_run_files(state: State, args: Json) -> Json:
    run = state.runs[args["run"]]
    files = [{"name": name, "uploadUrl": state.slot(_file_path(run, name), run.files, name)} for name in args["files"]]
    return {"createRunFiles": {"runID": run.id, "uploadHeaders": [], "files": files}}


def run_files(state: State, args: Json) -> Json:
    run = _find(state, args)
    if args.get("pattern"):
        raise RefusedError("file patterns are not known")
    wanted = args.get("fileNames") or list(run.files)
    nodes = []
    for name in (name for name in wanted if name in run.files):
        url = state.slot(_file_path(run, name), run.files, name)
        node = {
            "id": name,
            "name": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": len(run.files[name]),
            "mimetype": None,
            "updatedAt": CREATED,
            "md5": None,
        }
        nodes.append(node)
    found = {"fileCount": len(nodes), "files": connection(nodes)}
    return {"project": {"internalId": "1", "run": found}}


def _file_path(run: Run, name: str) -> str:
    return f"/storage/run/{run.id}/{quote(name)}"


def one_run(state: State, args: Json) -> Json:
    try:
        return {"project": {"run": run_node(_find(state, args))}}
    except RefusedError:
        return {"project": {"run": None}}


def many_runs(state: State, args: Json) -> Json:
    """The runs of a project; a filter may only ask fields of a run to be equal to something."""
    place = (args["entity"], args["project"])
    nodes = [run_node(run) for run in state.runs.values() if (run.entity, run.project) == place]
    # Answering with all the runs, in any order, would let a wrong question pass its test.
    if args.get("order") not in (None, "+created_at"):
        raise RefusedError(f"the order {args['order']} is not known")
    filters = json.loads(args.get("filters") or "{}")
    for one_filter in filters.pop("$and", []):
        filters.update(one_filter)
    for key, value in filters.items():
        field = "sweepName" if key == "sweep" else key
        if isinstance(value, dict) or field not in run_node(Run("", "")):
            raise RefusedError(f"the run filter {key}: {value} is not known")
        nodes = [node for node in nodes if node[field] == value]
    found = {"runCount": len(nodes), "runs": connection(nodes)}
    return {"project": {"internalId": "1", "readOnly": False, **found}}


def run_history(state: State, args: Json) -> Json:
    """All the rows: as lines, and as the rows that hold every key of each specification."""
    run = _find(state, args)
    sampled = [
        [row for row in run.history if all(key in row for key in json.loads(spec)["keys"])]
        for spec in args.get("specs", [])
    ]
    lines = [json.dumps(row) for row in run.history]
    events = [json.dumps(row) for row in run.system_metrics]
    return {"project": {"run": {"history": lines, "events": events, "sampledHistory": sampled}}}


def sampled_history(state: State, args: Json) -> Json:
    """The rows from ``minStep`` to ``maxStep`` that hold every key, without sampling."""
    spec = json.loads(args["spec"])
    rows = [
        {key: row[key] for key in spec["keys"]}
        for row in _find(state, args).history
        if spec["minStep"] <= row["_step"] <= spec["maxStep"] and all(key in row for key in spec["keys"])
    ]
    return {"project": {"run": {"sampledHistory": [rows]}}}


def live_history(state: State, args: Json) -> Json:
    """The rows for ``scan_history``; the real service would give most of them as parquet."""
    run = _find(state, args)
    return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": run.history}}}}


def alert(state: State, args: Json) -> Json:
    state.alerts.append(
        Alert(
            run=args["runName"],
            title=args["title"],
            text=args["text"],
            level=args["severity"],
            wait_seconds=(args.get("waitDuration") or 0) / 1000,
        )
    )
    return {"notifyScriptableRunAlert": {"success": True}}


OPERATIONS = {
    "UpsertBucket": upsert_run,
    "RunResumeStatus": resume_status,
    "CreateRunFiles": create_run_files,
    "RunFiles": run_files,
    "Run": one_run,
    "RunState": one_run,
    "Runs": many_runs,
    "RunHistoryKeys": one_run,
    "RunFullHistory": run_history,
    "RunSampledHistory": run_history,
    "RunParquetHistory": live_history,
    "SampledHistoryPage": sampled_history,
    "HistoryPage": run_history,
    "NotifyScriptableRunAlert": alert,
}
