"""Sweeps: take a configuration, hand out one run after another, end after a number of runs."""

import itertools
import json
import math
import random

import yaml

from .model import ENTITY, Json, RefusedError, State, Sweep
from .nodes import CREATED, project_node, run_node


def upsert_sweep(state: State, args: Json) -> Json:
    """Create a sweep from its YAML text, or change the state of one."""
    sweep = state.sweeps.get(args.get("id") or "")
    if sweep is None:
        sweep = Sweep(
            id=f"sweep{next(state.counter)}",
            entity=args.get("entityName") or ENTITY,
            project=args.get("projectName") or "uncategorized",
        )
        state.sweeps[sweep.id] = sweep
    if args.get("config"):
        sweep.source, sweep.config = args["config"], yaml.safe_load(args["config"])
    sweep.state = args.get("state") or sweep.state
    node = {"name": sweep.id, "state": sweep.state, "project": _project(sweep)}
    return {"upsertSweep": {"sweep": node, "configValidationWarnings": []}}


def _project(sweep: Sweep) -> Json:
    return project_node(sweep.entity, sweep.project)


def one_sweep(state: State, args: Json) -> Json:
    sweep = state.sweeps.get(args.get("sweep") or args.get("name") or "")
    if sweep is None:
        return {"project": {"sweep": None}}
    runs = [
        {
            **run_node(run),
            "exitcode": run.exit_code,
            "shouldStop": False,
            "failed": run.state == "failed",
            "stopped": False,
            "running": run.state == "running",
            "sampledHistory": [],
        }
        for run in state.runs.values()
        if run.sweep == sweep.id
    ]
    node = {
        "__typename": "Sweep",
        "id": sweep.id,
        "name": sweep.id,
        "displayName": sweep.config.get("name"),
        "method": sweep.config["method"],
        "state": sweep.state,
        "description": sweep.config.get("description"),
        "config": sweep.source,
        "createdAt": CREATED,
        "heartbeatAt": CREATED,
        "updatedAt": CREATED,
        "earlyStopJobRunning": False,
        "bestLoss": None,
        "controller": None,
        "scheduler": None,
        "runCount": len(runs),
        "runCountExpected": None,
        "runs": {"edges": [{"node": node} for node in runs]},
    }
    return {"project": {"sweep": node}}


def create_agent(_state: State, args: Json) -> Json:
    # The sweep is all that a heartbeat needs, so it is what the agent is called.
    return {"createAgent": {"agent": {"id": args["sweep"]}}}


def heartbeat(state: State, args: Json) -> Json:
    """One run at a time; the agent is sent home when the last one is over."""
    sweep = state.sweeps[args["id"]]
    still_running = json.loads(args.get("runState") or "{}")
    commands = [] if still_running else [_next_command(state, sweep)]
    return {"agentHeartbeat": {"agent": {"id": sweep.id}, "commands": json.dumps(commands)}}


def _next_command(state: State, sweep: Sweep) -> Json:
    number = len(sweep.runs)
    # Seeded by the number of the run too, so that the n-th run does not depend on the others.
    source = random.Random(f"{state.seed}/{number}")
    chosen = _choose(sweep.config, source, number)
    if number >= sweep.config.get("run_cap", state.run_cap) or chosen is None:
        sweep.state = "FINISHED"
    if sweep.state != "RUNNING" or chosen is None:
        return {"type": "exit"}
    run_id = f"{sweep.id}-run{number + 1}"
    sweep.runs[run_id] = chosen
    return {
        "type": "run",
        "run_id": run_id,
        "program": sweep.config.get("program"),
        "args": {key: {"value": value} for key, value in chosen.items()},
    }


def _choose(config: Json, source: random.Random, number: int) -> Json | None:
    """The values of a run. Only a grid is searched in order: bayes is random here too."""
    parameters = config["parameters"]
    if config["method"] == "grid":
        values = [spec.get("values", [spec.get("value")]) for spec in parameters.values()]
        combinations = list(itertools.product(*values))[number : number + 1]
        return dict(zip(parameters, combinations[0], strict=True)) if combinations else None
    return {name: _draw(name, spec, source) for name, spec in parameters.items()}


def _draw(name: str, spec: Json, source: random.Random) -> object:
    if "value" in spec:
        return spec["value"]
    if "values" in spec:
        return source.choice(spec["values"])
    low, high = spec["min"], spec["max"]
    kind = spec.get("distribution", "uniform")
    if kind == "int_uniform":
        return source.randint(low, high)
    if kind == "uniform":
        return source.uniform(low, high)
    if kind == "log_uniform_values":
        drawn = math.exp(source.uniform(math.log(low), math.log(high)))
        return min(max(drawn, low), high)
    raise RefusedError(f"distribution {kind} of {name} is not known")


OPERATIONS = {
    "UpsertSweep": upsert_sweep,
    "SweepWithRuns": one_sweep,
    "GetSweep": one_sweep,
    "GetSweepState": one_sweep,
    "CreateAgent": create_agent,
    "Heartbeat": heartbeat,
}
