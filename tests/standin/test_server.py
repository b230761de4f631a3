"""One test for each thing the stand-in can do, always against the real client."""

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wandb
from PIL import Image
from server import Server


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DIR"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    with Server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server
        server.fault = None  # a test may leave a fault, but the client has to get out
        wandb.finish()
        wandb.teardown()


def start(**settings):
    return wandb.init(project="p", **settings)


def finish(run, exit_code=0):
    """What a test reads is complete only after the client's helper process is gone."""
    run.finish(exit_code=exit_code)
    wandb.teardown()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def make(tmp_path, text, name="weights", kind="model", **more):
    artifact = wandb.Artifact(name, type=kind, **more)
    artifact.add_file(write(tmp_path / text / "weights.txt", text))
    return artifact


# The real command line, but an agent asks for its next run sooner than every five seconds.
CLI = """
from wandb import wandb_agent
from wandb.cli.cli import cli
wandb_agent.Agent.POLL_INTERVAL = 0.5
cli()
"""


def python(script, *arguments):
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


# ---- runs


def test_a_run_arrives_with_its_description_and_history(server):
    config = {"model": {"width": 8}}
    run = start(config=config, group="g", job_type="t", tags=["a", "b"], notes="n", name="first")
    for step in range(3):
        run.log({"loss": 1 / (step + 1), "val": {"acc": step}})
    run.config.update({"late": True})
    run.summary["best"] = 0.5
    finish(run)
    seen = server.runs[run.id]
    assert (seen.project, seen.group, seen.job_type, seen.notes) == ("p", "g", "t", "n")
    assert (seen.name, seen.tags) == ("first", ["a", "b"])
    assert seen.config == {"model": {"width": 8}, "late": True}
    assert [row["_step"] for row in seen.history] == [0, 1, 2]
    assert [row["val"]["acc"] for row in seen.history] == [0, 1, 2]
    assert seen.summary["best"] == 0.5
    assert (seen.complete, seen.exit_code, seen.state) == (True, 0, "finished")
    assert seen.argv == sys.argv[1:]
    assert not seen.resumed
    assert server.unknown == []


TALK = """
import sys, wandb
run = wandb.init(project="p", id="talk")
print("hello")
sys.exit(3)
"""


def test_what_a_run_prints_arrives_and_how_it_ended(server):
    with pytest.raises(subprocess.CalledProcessError):
        python(TALK)
    seen = server.runs["talk"]
    assert any("hello" in line for line in seen.output)
    assert (seen.exit_code, seen.state) == (3, "failed")
    assert server.unknown == []


def test_a_resumed_run_goes_on_where_it_stopped(server):
    for values in ([1, 2, 3], [4, 5]):
        run = start(id="again", resume="allow", config={"parts": len(values)})
        for value in values:
            run.log({"value": value})
        finish(run)
    seen = server.runs["again"]
    assert [row["value"] for row in seen.history] == [1, 2, 3, 4, 5]
    assert [row["_step"] for row in seen.history] == [0, 1, 2, 3, 4]
    assert (seen.resumed, seen.state) == (True, "finished")
    assert server.unknown == []


def test_a_run_that_must_be_new_is_left_as_it_is(server):
    finish(start(id="old"))
    with pytest.raises(wandb.errors.UsageError):
        start(id="old", resume="never")
    assert (server.runs["old"].resumed, server.runs["old"].state) == (False, "finished")
    assert server.unknown == []


def test_images_and_tables_arrive_as_files(server):
    run = start()
    run.log({"picture": wandb.Image(Image.new("RGB", (4, 4), "red"))})
    run.log({"table": wandb.Table(columns=["a", "b"], data=[[1, 2], [3, 4]])})
    finish(run)
    seen = server.runs[run.id]
    picture = seen.history[0]["picture"]
    assert seen.files[picture["path"]].startswith(b"\x89PNG")
    table = json.loads(seen.files[seen.history[1]["table"]["path"]])
    assert table["data"] == [[1, 2], [3, 4]]
    assert [artifact.type for artifact in seen.logged] == ["run_table"]
    assert server.unknown == []


def test_files_go_up_and_come_back(server, tmp_path):
    run = start()
    write(tmp_path / "notes.txt", "kept")
    run.save(str(tmp_path / "notes.txt"), base_path=str(tmp_path), policy="now")
    run.log({"loss": 2.0})
    finish(run)
    assert server.runs[run.id].files["notes.txt"] == b"kept"
    found = wandb.Api().run(f"team/p/{run.id}")
    assert found.summary["loss"] == 2.0
    assert [row["loss"] for row in found.history(pandas=False)] == [2.0]
    assert [row["loss"] for row in found.scan_history()] == [2.0]
    found.file("notes.txt").download(root=str(tmp_path / "back"))
    assert (tmp_path / "back" / "notes.txt").read_text() == "kept"
    assert server.unknown == []


def test_runs_are_listed_and_filtered(server):
    for group in ("a", "b"):
        start(id=f"run-{group}", group=group).finish()
    api = wandb.Api()
    assert [run.id for run in api.runs("team/p")] == ["run-a", "run-b"]
    assert [run.id for run in api.runs("team/p", filters={"group": "b"})] == ["run-b"]
    with pytest.raises(Exception, match="filter"):
        len(api.runs("team/p", filters={"config.lr.value": 1}))
    assert server.unknown == []


def test_an_alert_arrives(server):
    run = start()
    run.alert("diverged", "loss is nan", level="WARN", wait_duration=120)
    finish(run)
    (alert,) = server.alerts
    assert (alert.run, alert.title, alert.text) == (run.id, "diverged", "loss is nan")
    assert (alert.level, alert.wait_seconds) == ("WARN", 120)
    assert server.unknown == []


# ---- artifacts


def test_a_model_arrives_with_metadata_and_comes_back(server, tmp_path):
    run = start()
    run.log_artifact(make(tmp_path, "one", metadata={"acc": 0.9}), aliases=["best"]).wait()
    finish(run)
    (seen,) = server.artifacts
    assert (seen.type, seen.collection, seen.index, seen.state) == (
        "model",
        "weights",
        0,
        "COMMITTED",
    )
    assert (seen.metadata, seen.files) == ({"acc": 0.9}, {"weights.txt": b"one"})
    assert sorted(seen.aliases) == ["best", "latest"]
    assert list(seen.entries) == ["weights.txt"]
    assert server.runs[run.id].logged == [seen]
    found = wandb.Api().artifact("team/p/weights:best")
    assert (found.version, found.metadata, found.digest) == ("v0", {"acc": 0.9}, seen.digest)
    assert sorted(found.aliases) == ["best", "latest"]
    assert found.logged_by().id == run.id
    assert (tmp_path / found.download(root=str(tmp_path / "d")) / "weights.txt").read_text() == "one"
    assert wandb.Api().artifact_exists("team/p/weights:v0")
    assert not wandb.Api().artifact_exists("team/p/weights:v1")
    assert server.unknown == []


def test_a_download_that_is_not_in_the_cache_comes_from_the_server(server, tmp_path):
    run = start()
    run.log_artifact(make(tmp_path, "one")).wait()
    finish(run)
    found = wandb.Api().artifact("team/p/weights:latest")
    found.download(root=str(tmp_path / "all"), skip_cache=True)
    assert (tmp_path / "all" / "weights.txt").read_text() == "one"
    entry = wandb.Api().artifact("team/p/weights:v0").get_entry("weights.txt")
    path = entry.download(root=str(tmp_path / "single"), skip_cache=True)
    assert (tmp_path / path).read_text() == "one"
    assert server.unknown == []


def test_the_same_content_is_the_same_version(server, tmp_path):
    run = start()
    for text in ("one", "one", "two"):
        run.log_artifact(make(tmp_path, text), aliases=["best"]).wait()
    finish(run)
    assert [(a.index, sorted(a.aliases)) for a in server.artifacts] == [
        (0, []),
        (1, ["best", "latest"]),
    ]
    assert server.unknown == []


def test_names_are_kept_as_they_are(server, tmp_path):
    run = start()
    artifact = wandb.Artifact("odd", type="dataset")
    artifact.add_file(write(tmp_path / "x", "odd"), name="a b/ü %20.txt")
    artifact.add_file(write(tmp_path / "y", ""), name="empty")
    run.log_artifact(artifact).wait()
    finish(run)
    assert server.artifacts[0].files == {"a b/ü %20.txt": b"odd", "empty": b""}
    wandb.Api().artifact("team/p/odd:v0").download(root=str(tmp_path / "d"), skip_cache=True)
    assert (tmp_path / "d" / "a b" / "ü %20.txt").read_text() == "odd"
    assert server.unknown == []


def test_a_later_version_may_keep_files_of_an_earlier_one(server, tmp_path):
    run = start()
    run.log_artifact(make(tmp_path, "one", kind="dataset")).wait()
    draft = wandb.Api().artifact("team/p/weights:v0").new_draft()
    draft.add_file(write(tmp_path / "more.txt", "more"))
    run.log_artifact(draft).wait()
    table = wandb.Table(columns=["a"], log_mode="INCREMENTAL")
    for value in (1, 2):
        table.add_data(value)
        run.log({"table": table})
    finish(run)
    assert [list(a.files) for a in server.artifacts[:2]] == [["weights.txt"], ["more.txt"]]
    assert sorted(server.artifacts[1].entries) == ["more.txt", "weights.txt"]
    assert [len(a.entries) for a in server.artifacts[2:]] == [1, 2]
    wandb.Api().artifact("team/p/weights:v1").download(root=str(tmp_path / "d"), skip_cache=True)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["more.txt", "weights.txt"]
    assert server.unknown == []


def test_a_dataset_may_point_at_its_files(server, tmp_path):
    data = write(tmp_path / "data" / "a.txt", "aaa")
    run = start()
    dataset = wandb.Artifact("data", type="dataset")
    dataset.add_reference(f"file://{data}")
    run.log_artifact(dataset).wait()
    finish(run)
    (seen,) = server.artifacts
    assert seen.entries["a.txt"]["ref"] == f"file://{data}"
    assert seen.files == {}
    wandb.Api().artifact("team/p/data:v0").download(root=str(tmp_path / "d"))
    assert (tmp_path / "d" / "a.txt").read_text() == "aaa"
    assert server.unknown == []


def test_a_run_uses_an_artifact_by_name_or_as_a_draft(server, tmp_path):
    run = start()
    run.log_artifact(make(tmp_path, "one")).wait()
    run.use_artifact("weights:latest")
    run.use_artifact(make(tmp_path, "data", name="data", kind="dataset"))
    finish(run)
    assert [artifact.collection for artifact in server.runs[run.id].used] == ["weights", "data"]
    found = wandb.Api().run(f"team/p/{run.id}")
    assert [a.name for a in found.used_artifacts()] == ["weights:v0", "data:v0"]
    assert [a.name for a in found.logged_artifacts()] == ["weights:v0"]
    assert server.unknown == []


def test_versions_are_listed_and_changed(server, tmp_path):
    run = start()
    for text in ("one", "two", "three"):
        run.log_artifact(make(tmp_path, text)).wait()
    finish(run)
    api = wandb.Api()
    listed = api.artifacts("model", "team/p/weights")
    assert [(a.version, a.aliases) for a in listed] == [("v2", ["latest"]), ("v1", []), ("v0", [])]
    collection = api.artifact_collection("model", "team/p/weights")
    _, middle, _ = collection.artifacts()
    middle.aliases.append("best")
    middle.metadata["seen"] = True
    middle.save()
    assert server.artifacts[1].aliases == ["best"]
    assert server.artifacts[1].metadata == {"seen": True}
    middle.aliases.remove("best")
    middle.save()
    assert server.artifacts[1].aliases == []
    assert server.unknown == []


# ---- registry


def test_an_alias_in_the_registry_moves_to_the_new_link(server, tmp_path):
    target = "wandb-registry-model/detector"
    run = start()
    for text in ("one", "two"):
        artifact = run.log_artifact(make(tmp_path, text, metadata={"text": text}))
        run.link_artifact(artifact, target, aliases=["production"])
        artifact.wait()
    finish(run)
    assert [(link.collection, link.index, link.aliases) for link in server.links] == [
        ("detector", 0, []),
        ("detector", 1, ["production", "latest"]),
    ]
    assert server.links[1].artifact is server.artifacts[1]
    api = wandb.Api()
    found = api.artifact(f"{target}:production")
    assert (found.version, found.metadata) == ("v1", {"text": "two"})
    assert (found.is_link, found.source_name) == (True, "weights:v1")
    found.download(root=str(tmp_path / "d"), skip_cache=True)
    assert (tmp_path / "d" / "weights.txt").read_text() == "two"
    api.artifact("team/p/weights:v0").link(target, aliases=["production"])
    assert server.links[0].aliases == ["production", "latest"]
    assert api.artifact(f"{target}:production").version == "v0"
    assert [a.version for a in api.artifacts("model", f"organization/{target}")] == ["v1", "v0"]
    api.artifact(f"{target}:production").unlink()
    assert [link.index for link in server.links] == [1]
    assert server.unknown == []


def test_a_draft_is_linked_in_one_step(server, tmp_path):
    run = start()
    run.link_artifact(make(tmp_path, "one"), "wandb-registry-model/detector")
    finish(run)
    (link,) = server.links
    assert (link.entity, link.project) == ("organization", "wandb-registry-model")
    assert (link.artifact.collection, link.aliases) == ("weights", ["latest"])
    assert server.unknown == []


# ---- offline runs


def test_an_offline_run_is_synced_whole(server, tmp_path):
    run = start(mode="offline", config={"lr": 0.1})
    run.log({"loss": 1.0, "picture": wandb.Image(Image.new("RGB", (4, 4), "red"))})
    run.alert("late", "but delivered")
    run.log_artifact(make(tmp_path, "one", metadata={"acc": 0.9}), aliases=["best"])
    folder = run.dir.removesuffix("/files")
    finish(run)
    assert server.received == []
    python(CLI, "sync", folder)
    seen = server.runs[run.id]
    assert (seen.config, seen.state) == ({"lr": 0.1}, "finished")
    assert [row["loss"] for row in seen.history] == [1.0]
    assert seen.files[seen.history[0]["picture"]["path"]].startswith(b"\x89PNG")
    assert [alert.title for alert in server.alerts] == ["late"]
    assert [(a.files, a.metadata) for a in seen.logged] == [({"weights.txt": b"one"}, {"acc": 0.9})]
    assert server.unknown == []


# ---- sweeps

SWEEP = """
program: train.py
method: random
run_cap: 2
metric: {name: loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 0.001, max: 0.1}
  width: {values: [8, 16]}
command: [python, "${program}", "${args_no_hyphens}"]
"""
TRAIN = """
import sys, wandb
with wandb.init() as run:
    run.log({"loss": 1.0})
"""


def test_an_agent_runs_what_the_sweep_hands_out(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    write(tmp_path / "train.py", TRAIN)
    python(CLI, "sweep", "--project", "p", "--entity", "team", write(tmp_path / "sweep.yaml", SWEEP))
    (sweep,) = server.sweeps.values()
    python(CLI, "agent", f"team/p/{sweep.id}")
    assert len(sweep.runs) == 2
    for run_id, chosen in sweep.runs.items():
        run = server.runs[run_id]
        assert 0.001 <= chosen["lr"] <= 0.1
        assert run.argv == [f"lr={chosen['lr']}", f"width={chosen['width']}"]
        assert (run.sweep, run.config, run.state) == (sweep.id, chosen, "finished")
    assert sweep.state == "FINISHED"
    assert {run.id for run in wandb.Api().sweep(f"team/p/{sweep.id}").runs} == set(sweep.runs)
    assert server.unknown == []


# ---- faults


def test_a_wrong_key_is_refused(server):
    server.fault = "unauthorized"
    with pytest.raises(wandb.errors.CommError):
        start()


@pytest.mark.parametrize("fault", ["error", "hang"])
def test_a_service_that_fails_or_hangs_can_come_back(server, fault):
    server.fault = fault
    settings = wandb.Settings(init_timeout=1)
    with pytest.raises(wandb.errors.CommError):
        start(settings=settings)
    server.fault = None
    wandb.teardown()
    finish(start(id="second"))
    assert server.runs["second"].state == "finished"


def test_nothing_is_lost_when_the_service_fails_for_a_while(server):
    run = start()
    server.fault = "error"
    for value in range(5):
        run.log({"value": value})
    time.sleep(1)
    server.fault = None
    finish(run)
    assert [row["value"] for row in server.runs[run.id].history] == [0, 1, 2, 3, 4]
    assert server.unknown == []


def test_a_service_that_dies_takes_nothing_more(server):
    run = start(settings=wandb.Settings(finish_timeout=1))
    run.log({"loss": 1.0})
    server.die()
    run.log({"loss": 2.0})
    run.finish()
    assert not server.runs[run.id].complete


def test_leaving_never_waits_for_a_hanging_request(server):
    server.fault = "hang"
    client = http.client.HTTPConnection(server.url.removeprefix("http://"))
    client.request("POST", "/graphql", b"{}")
    begun = time.monotonic()
    server.die()
    assert time.monotonic() - begun < 1
    with pytest.raises(ConnectionError):
        client.getresponse()


# ---- what a test can ask


def test_what_is_not_known_is_refused_and_remembered(server):
    with pytest.raises(Exception, match="does not know CreateProject"):
        wandb.Api().create_project("p", "team")
    assert server.unknown == ["CreateProject"]


def test_all_that_was_sent_can_be_searched_but_not_the_key(server, tmp_path):
    run = start(config={"token": "hunter2"})
    run.log_artifact(make(tmp_path, "treasure")).wait()
    finish(run)
    assert b"hunter2" in server.bodies()
    assert b"treasure" in server.bodies()
    assert base64.b64encode(b"api:" + b"0" * 40) not in server.bodies()
    assert b"0" * 40 not in server.bodies()
