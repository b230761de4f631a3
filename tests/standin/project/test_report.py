"""``wandb-report``: the view and the report that the server receives."""

import sys

import pytest
from server import Sweep
from shape_sorter.settings.schema import METRICS, MONITOR
from shape_sorter.tracking import report
from small import OWN
from tracked import teardown

BEST = f"{MONITOR}.{METRICS[MONITOR]}"  # in the summary of a run


@pytest.fixture
def compare(monkeypatch, capsys):
    """The command; returns what it prints."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["wandb-report", *words])
        capsys.readouterr()
        try:
            report.main()
        finally:
            teardown()
        return capsys.readouterr().out

    return run


def found(tree, key):
    """All values of a key, at any depth of a tree of JSON."""
    if isinstance(tree, list):
        return [value for branch in tree for value in found(branch, key)]
    if not isinstance(tree, dict):
        return []
    below = [value for branch in tree.values() for value in found(branch, key)]
    return [*([tree[key]] if key in tree else []), *below]


def panels(tree, kind):
    """The settings of the panels of a kind."""
    if isinstance(tree, list):
        return [panel for branch in tree for panel in panels(branch, kind)]
    if not isinstance(tree, dict):
        return []
    below = [panel for branch in tree.values() for panel in panels(branch, kind)]
    return [*([tree["config"]] if tree.get("viewType") == kind else []), *below]


def pinned(report):
    """The columns at the left of the tables of runs."""
    (columns,) = {tuple(pinned) for pinned in found(report.spec, "columnPinned")}
    return list(columns)


def test_a_view_is_saved_and_a_report_compares_a_group(server, tracked, compare):
    for lr in (0.001, 0.01):
        tracked("tracking.group=rates", f"optimizer.lr={lr}", "trainer.max_epochs=1", "tracking.name=x")
    tracked("optimizer.weight_decay=0.5", "trainer.max_epochs=1")
    addresses = compare("group=rates").split()
    view, compared = server.views
    assert [address.startswith(f"{server.url}/{view.entity}/{view.project}") for address in addresses] == [True, True]
    assert (view.type, compared.type) == ("project-view", "runs")

    lines = [panel["metrics"] for panel in panels(view.spec, "Run History Line Plot")]
    # The loss of a detector is measured in training only.
    assert (["train/loss"] if OWN == "data=coco" else ["train/loss", "val/loss"]) in lines
    assert [MONITOR] in lines
    assert ["system/cpu"] in lines
    (images,) = panels(view.spec, "Media Browser")
    assert images["mediaKeys"] == ["val/predictions"]

    assert compared.title == "Training runs of group rates"
    assert all(BEST.split(".")[1] in server.runs[run].summary[MONITOR] for run in server.runs)
    (axes,) = panels(compared.spec, "Parallel Coordinates Plot")
    assert [axis["accessor"] for axis in axes["columns"]] == ["config:optimizer.value.lr", f"summary:{BEST}"]
    assert pinned(compared) == [f"summary:{BEST}", "config:optimizer.value.lr"]
    (importance,) = panels(compared.spec, "Parameter Importance")
    assert importance["targetKey"] == BEST
    (images,) = panels(compared.spec, "Media Browser")
    assert images["mediaKeys"] == ["val/predictions"]
    assert [panel["metrics"] for panel in panels(compared.spec, "Bar Chart")] == [[BEST]]
    for runset in (runset for runsets in found(compared.spec, "runSets") for runset in runsets):
        rules = {part["key"]["name"]: part["value"] for part in runset["filters"]["filters"]}
        assert rules == {"group": "rates", "jobType": "train"}
        (order,) = runset["sort"]["keys"]
        assert (order["key"]["name"], order["ascending"]) == (BEST, METRICS[MONITOR] == "min")


def test_a_report_of_a_sweep_shows_the_settings_that_the_sweep_varies(server, tracked, compare, workplace, monkeypatch):
    server.sweeps["abc"] = Sweep("abc", "team", "shape-sorter", {"method": "grid"}, "method: grid")
    for lr in (0.001, 0.01):
        (workplace / "chosen.yaml").write_text(f"wandb_version: 1\noptimizer.lr: {{value: {lr}}}\n")
        with monkeypatch.context() as patched:  # as the agent of the sweep does
            patched.setenv("WANDB_SWEEP_ID", "abc")
            patched.setenv("WANDB_RUN_ID", f"trial-{lr}")
            patched.setenv("WANDB_PROJECT", "shape-sorter")
            patched.setenv("WANDB_SWEEP_PARAM_PATH", str(workplace / "chosen.yaml"))
            tracked(f"optimizer.lr={lr}", "trainer.max_epochs=1", "tracking.log_data=null")
    tracked("optimizer.weight_decay=0.5", "trainer.max_epochs=1", "tracking.log_data=null")
    compare("sweep=abc")
    _, compared = server.views
    assert compared.title == "Training runs of sweep abc"
    assert "optimizer.lr" in server.runs["trial-0.001"].config  # as the agent has recorded it
    assert pinned(compared) == [f"summary:{BEST}", "config:optimizer.lr.value"]
    assert not panels(compared.spec, "Parallel Coordinates Plot")
    (page,) = panels(compared.spec, "Markdown Panel")
    assert f"{server.url}/team/shape-sorter/sweeps/abc)" in page["value"]
    for runset in (runset for runsets in found(compared.spec, "runSets") for runset in runsets):
        rules = {part["key"]["name"]: part["value"] for part in runset["filters"]["filters"]}
        assert rules == {"sweep": "abc", "jobType": "train"}


def test_a_report_finds_training_runs_of_another_job_type(server, tracked, compare, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setenv("WANDB_JOB_TYPE", "probe")
        tracked("trainer.max_epochs=1", "tracking.log_data=null")
        compare()
    with pytest.raises(SystemExit, match="team/shape-sorter has no runs of any group with the job type train"):
        compare()
    compare("tracking.job_type=probe")
    reports = [view.spec for view in server.views if view.type == "runs"]
    assert len(reports) == 2
    for runset in (runset for runsets in found(reports, "runSets") for runset in runsets):
        (rule,) = runset["filters"]["filters"]
        assert (rule["key"]["name"], rule["value"]) == ("jobType", "probe")


@pytest.mark.usefixtures("server")
def test_runs_that_do_not_exist_are_named(compare):
    with pytest.raises(SystemExit, match="team/shape-sorter has no runs of group nothing"):
        compare("group=nothing")


def test_without_the_package_or_the_server_a_line_says_what_to_do(server, tracked, compare, monkeypatch):
    tracked("trainer.max_epochs=1")
    server.fault = "unauthorized"
    with pytest.raises(SystemExit, match="The report cannot be saved: "):
        compare()
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit, match="uv sync --extra report"):
        compare()
