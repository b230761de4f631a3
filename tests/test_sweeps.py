"""W&B's own search proposes, the project's own command line trains, and the score goes back into the search."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import OPTIONS, ROOT, Bake, Project
from test_generated import MONITORS, NO_SERVER, SMALL, column, use

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tracked")]

FILES = ["sweep.yaml", "sweeps/grid.yaml", "sweeps/random.yaml"]

# Runs where the search is installed: a sweep and its past runs come in, the next proposals go out.
PROPOSE = """
import json, sys
import numpy, sweeps
sweep, past, count = json.load(sys.stdin)
numpy.random.seed(len(past))  # the same past, the same proposal
found = sweeps.schema_violations_from_proposed_config(sweep)
assert not found, found
runs = [sweeps.SweepRun(**run) for run in past]
for run in runs:
    if run.state == "finished":
        run.metric_extremum(sweep["metric"]["name"], "maximum")  # raises if the search would see none
proposed = sweeps.next_runs(sweep, runs, validate=True, n=count)
configs = [run and {name: one["value"] for name, one in run.config.items()} for run in proposed]
print(json.dumps(configs, default=lambda value: value.item()))
"""

Settings = dict[str, Any]
Propose = Callable[..., list[Settings | None]]


@pytest.fixture(scope="module")
def propose(tmp_path_factory: pytest.TempPathFactory) -> Propose:
    """Ask W&B's own ``sweeps`` for settings; it needs an old NumPy, so it gets an environment to itself."""
    environment = tmp_path_factory.mktemp("sweeps") / "venv"
    for words in (
        ["venv", "--python", ">=3.11,<3.13", str(environment)],
        ["pip", "install", "--compile-bytecode", "--python", str(environment), "sweeps==0.3.0", "numpy<2"],
    ):
        done = subprocess.run(["uv", *words], cwd=environment.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"

    def proposed(sweep: Settings, past: Sequence[Settings] = (), count: int = 1) -> list[Settings | None]:
        done = subprocess.run(
            [python, "-W", "ignore", "-c", PROPOSE],
            input=json.dumps([sweep, past, count]),
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer: list[Settings | None] = json.loads(done.stdout)
        return answer

    return proposed


def read(project: Project, name: str) -> Settings:
    sweep: Settings = yaml.safe_load(project.text(name))
    return sweep


def assert_allowed(sweep: Settings, settings: Settings | None) -> Settings:
    """Every parameter has a value, and each value is one that the file allows."""
    assert settings is not None
    assert settings.keys() == sweep["parameters"].keys()
    for name, value in settings.items():
        parameter = sweep["parameters"][name]
        if "min" in parameter:
            assert parameter["min"] <= value <= parameter["max"], name
        else:
            assert value in parameter.get("values", [parameter.get("value")]), name
    return settings


def trial(project: Project, sweep: Settings, settings: Settings, run: str) -> subprocess.CompletedProcess[str]:
    """Start a run as W&B's agent does, only smaller: what is said last counts."""
    flags = [f"{name}={value}" for name, value in settings.items()]
    words = [part for word in sweep["command"] for part in (flags if word == "${args_no_hyphens}" else [word])]
    environ = {"WANDB_MODE": "offline", "WANDB_RUN_ID": run, "UV_NO_SYNC": "1"}
    return project.run(*words, *SMALL, "trainer.max_epochs=1", **environ, **NO_SERVER)


def logged(project: Project, metric: str, run: Path) -> list[float]:
    """A metric's values, from the file that would be sent to the server."""
    code = (
        "import json, sys; from pathlib import Path; sys.path.insert(0, 'tests/tracking')\n"
        "from reading import exit_code, history\n"
        "run = Path(sys.argv[1]); assert exit_code(run) == 0\n"
        "print(json.dumps([row[sys.argv[2]] for row in history(run) if sys.argv[2] in row]))"
    )
    values: list[float] = json.loads(use(project, "python", "-c", code, run, metric).stdout)
    return values


def finished(settings: Settings, metric: str, values: list[float]) -> Settings:
    """A past run as the search wants to see it."""
    return {
        "state": "finished",
        "config": {name: {"value": value} for name, value in settings.items()},
        "history": [{metric: value} for value in values],
        "summary_metrics": {metric: values[-1]},
    }


@pytest.mark.parametrize("task", OPTIONS["task"])
@pytest.mark.parametrize("name", FILES)
def test_the_search_takes_each_file_and_stays_within_it(bake: Bake, propose: Propose, task: str, name: str) -> None:
    sweep = read(bake(task=task, use_wandb=True), name)
    assert sweep["metric"]["name"] == MONITORS[task]
    proposals = [assert_allowed(sweep, settings) for settings in propose(sweep, count=3)]
    assert len({json.dumps(settings, sort_keys=True) for settings in proposals}) == 3


@pytest.mark.parametrize("task", OPTIONS["task"])
def test_each_file_searches_in_its_own_way(bake: Bake, propose: Propose, task: str) -> None:
    project = bake(task=task, use_wandb=True)
    bayes, grid, wide = (read(project, name) for name in FILES)
    assert [sweep["method"] for sweep in (bayes, grid, wide)] == ["bayes", "grid", "random"]
    assert [name for name in FILES if "early_terminate" in read(project, name)] == ["sweep.yaml"]
    assert bayes["early_terminate"]["type"] == "hyperband"
    assert wide["run_cap"] < 100
    combinations = math.prod(len(parameter["values"]) for parameter in grid["parameters"].values())
    assert 6 <= combinations <= 8
    assert f"after {combinations} runs" in project.text("sweeps/grid.yaml")
    proposals = propose(grid, count=combinations + 1)
    assert proposals.pop() is None  # it ends by itself
    assert len({json.dumps(assert_allowed(grid, settings)) for settings in proposals}) == combinations


@pytest.mark.parametrize("name", FILES)
def test_each_file_says_how_to_start_it(bake: Bake, name: str) -> None:
    lines = bake(use_wandb=True).text(name).splitlines()
    comment = lines[: lines.index("program: train")]
    assert all(line.startswith("# ") for line in comment)
    assert f"uv run wandb sweep {name}" in "\n".join(comment)
    assert "uv run wandb agent ENTITY/PROJECT/SWEEP_ID" in "\n".join(comment)


def test_bayes_goes_on_from_what_the_runs_report(tracked: Project, propose: Propose) -> None:
    sweep = read(tracked, "sweep.yaml")
    metric = sweep["metric"]["name"]
    past: list[Settings] = []
    for turn in range(2):
        settings = assert_allowed(sweep, propose(sweep, past)[0])
        done = trial(tracked, sweep, settings, f"bayes-{turn}")
        assert done.returncode == 0, done.stderr[-3000:]
        run = tracked.folder / "runs" / f"bayes-{turn}"
        values = logged(tracked, metric, run)
        assert values == pytest.approx(column(run, metric))
        assert len(values) == 1  # one epoch, one validation
        used = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        assert used["optimizer"]["lr"] == settings["optimizer.lr"]
        past.append(finished(settings, metric, values))
    third = assert_allowed(sweep, propose(sweep, past)[0])
    rates = {run["config"]["optimizer.lr"]["value"] for run in past}
    assert len(rates | {third["optimizer.lr"]}) == 3


def test_a_trial_that_cannot_work_says_why_and_the_search_goes_on(tracked: Project, propose: Propose) -> None:
    sweep = read(tracked, "sweeps/grid.yaml")
    sweep["parameters"]["model.backbone"]["values"].insert(0, "no_such_net")
    settings = assert_allowed(sweep, propose(sweep)[0])
    assert settings["model.backbone"] == "no_such_net"
    done = trial(tracked, sweep, settings, "fails")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "no_such_net" in line]
    assert said == ["model.backbone=no_such_net: timm has no such model."]
    assert "Traceback" not in done.stderr
    failed = {"state": "failed", "config": {name: {"value": value} for name, value in settings.items()}}
    assert assert_allowed(sweep, propose(sweep, [failed])[0]) != settings


# Inside the project: a server, the sweep and its agent, started by the lines of the documentation.
AGENT = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from server import Server
start, work = sys.argv[2:]
with Server(run_cap=3) as server:
    environ = os.environ | server.environment() | {"UV_NO_SYNC": "1"}
    said = subprocess.run(start, shell=True, env=environ, check=True, capture_output=True, text=True)
    ((name, sweep),) = server.sweeps.items()
    work = work.replace("SWEEP_ID", name)
    done = subprocess.run(work, shell=True, env=environ, capture_output=True, text=True)
    runs = {
        run.id: {"state": run.state, "sweep": run.sweep, "history": run.history, "config": run.config,
                 "summary": run.summary, "given": sweep.runs.get(run.id), "project": run.project}
        for run in server.runs.values()
    }
    print(done.stdout, done.stderr)
    print("\\n" + json.dumps({"code": done.returncode, "runs": runs, "unknown": server.unknown}, default=str))
"""


@pytest.mark.parametrize("scope", OPTIONS["scope"])
def test_the_documentation_starts_a_sweep_and_its_agents(bake: Bake, scope: str) -> None:
    start, work = documented(bake(use_wandb=True, scope=scope))
    assert "wandb sweep sweep.yaml" in start
    assert "wandb agent ENTITY/PROJECT/SWEEP_ID" in work


def documented(project: Project) -> list[str]:
    """The different lines of the documentation that start a sweep and an agent, without comments."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((project.folder / "docs").glob("*.md"))]
    lines = [line.split("  #")[0].strip() for text in texts for line in text.splitlines()]
    found = [line for line in lines if re.match(r"(\w+=\S+ )*uv run wandb (sweep|agent) ", line)]
    return list(dict.fromkeys(found))


def test_an_agent_runs_a_sweep_and_a_failed_trial_does_not_stop_it(tracked: Project) -> None:
    sweep = read(tracked, "sweep.yaml")
    metric = sweep["metric"]["name"]
    # The file as it is, only smaller: the fixed words stand behind those of the search.
    sweep["command"] += [*SMALL, "trainer.max_epochs=1", "optimizer.clip_norm=null", "schedule.warmup=0"]
    sweep["method"] = "grid"
    sweep.pop("early_terminate")
    rates, names = [0.001, 1e30], ["test_resnet", "no_such_net"]
    sweep["parameters"] = {"model.backbone": {"values": names}, "optimizer.lr": {"values": rates}}
    path = tracked.folder / "small-sweep.yaml"
    path.write_text(yaml.safe_dump(sweep), encoding="utf-8")
    start, work = documented(tracked)
    words = [start.replace("sweep.yaml", path.name), work.replace("ENTITY/PROJECT", "team/shape-sorter")]
    done = tracked.run("uv", "run", "--no-sync", "python", "-c", AGENT, ROOT / "tests" / "standin", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0
    assert told["unknown"] == []
    assert {run["project"] for run in told["runs"].values()} == {"shape-sorter"}
    tried = {tuple(run["given"].values()): run for run in told["runs"].values() if run["given"]}
    good, diverged = tried["test_resnet", 0.001], tried["test_resnet", 1e30]
    assert good["state"] == "finished"
    assert len([row for row in good["history"] if metric in row]) == 1
    assert good["config"]["model.backbone"] == "test_resnet"
    assert "backbone" not in good["config"]["model"]  # each parameter is recorded once
    assert diverged["state"] == "failed"
    assert "NotFiniteError" in diverged["summary"]["failure"]
    assert "no_such_net" in done.stdout  # the third one was refused before it could begin a run
    assert ("no_such_net", 0.001) not in tried
