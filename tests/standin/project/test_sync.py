"""``wandb-sync``: a run is marked as uploaded only if all of it has arrived."""

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
import wandb
from reading import artifacts, entries, exit_code, file_of, history, logged
from server import FAULTS, Server
from shape_sorter import train
from shape_sorter.clusters.preemption import Preemption
from shape_sorter.run.folder import Run
from shape_sorter.settings.schema import METRICS, MONITOR
from shape_sorter.tracking import images, lineage, promote, registry, sync, tables, upload_status
from shape_sorter.tracking.client import wandb_command
from shape_sorter.training import checkpoint
from tracked import KEY, teardown


@pytest.fixture
def offline(tracked, monkeypatch):
    """A training without a key."""

    def run(*overrides):
        with monkeypatch.context() as patched:
            patched.delenv("WANDB_API_KEY", raising=False)
            return tracked("trainer.max_epochs=1", *overrides)

    return run


def test_offline_runs_are_uploaded_and_waiting_actions_are_done(server, offline, workplace, capsys):
    first, second = offline("tracking.alerts.finished=true"), offline("seed=1")
    link = {"artifact": f"model-{first.name}:best", "target": "wandb-registry-model/own", "alias": "production"}
    registry.postpone(Run(first), {"action": "link", "min_metric": None, "force": False, **link})
    assert not server.runs
    assert sync.sync(workplace / "runs") == []
    assert "2 of 2 runs uploaded" in capsys.readouterr().out
    for run in (first, second):
        uploaded = server.runs[run.name]
        assert uploaded.state == "finished"
        assert len(uploaded.history) == len(history(run))
        assert {artifact.type for artifact in uploaded.used} == {"dataset"}
        assert not (run / registry.PENDING).exists()
    assert [alert.title for alert in server.alerts] == ["Run finished"]
    (model,) = [artifact for artifact in server.artifacts if artifact.collection == f"model-{first.name}"]
    assert model.files["best.ckpt"] == (first / "checkpoints" / "best.ckpt").read_bytes()
    assert server.links[0].artifact is model
    assert KEY.encode() not in server.bodies()
    assert sync.sync(workplace / "runs") == []
    assert "0 of 0 runs uploaded" in capsys.readouterr().out
    shutil.rmtree(first / "wandb" / "data" / "artifacts")  # nothing of it is needed any more
    assert sync.sync(workplace / "runs", again=True) == []
    assert "2 of 2 runs uploaded" in capsys.readouterr().out


def test_the_server_gets_only_what_it_lacks_of_a_run(server, offline, workplace, monkeypatch):
    run = offline("tracking.alerts.finished=true")
    monkeypatch.setenv("WANDB_MODE", "offline")  # as for the trainings of a cluster
    rows, folder = history(run), file_of(run).parent

    def received():
        (model,) = [artifact for artifact in server.artifacts if artifact.type == "model"]
        assert sync.sync(workplace / "runs", again=True) == []
        assert (folder / "complete").exists()
        held = server.runs[run.name]
        assert held.state == "finished"
        assert [row["_timestamp"] for row in held.history] == [row["_timestamp"] for row in rows]
        assert [row[MONITOR] for row in held.history if MONITOR in row] == logged(run, MONITOR)
        assert held.summary[MONITOR]["last"] == logged(run, MONITOR)[-1]
        assert len(held.files) == files
        assert [artifact for artifact in held.logged if artifact.type == "model"][-1].digest == model.digest
        assert len(server.alerts) == 1

    wandb_command("sync", str(folder))  # as a user may do
    files = len(server.runs[run.name].files)
    received()
    held = server.runs[run.name]
    del held.history[3:]  # the connection was lost
    del held.files[next(name for name in held.files if name.startswith("media/images"))]
    held.complete = False
    received()
    server.alerts.clear()
    server.runs.clear()  # another server, which knows nothing
    received()


def test_an_earlier_session_that_is_completed_does_not_change_the_end_of_the_run(
    server, tracked, workplace, monkeypatch
):
    def preempt(_callback, trainer, *_):
        if trainer.global_step == 5:  # in the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Preemption, "on_before_optimizer_step", preempt)
        with pytest.raises(SystemExit):
            tracked()
    tracked("resume=auto")
    ((name, held),) = server.runs.items()
    times, metrics = {row["_timestamp"] for row in held.history}, {**held.summary}
    first, second = (session.mark for session in upload_status.sessions(workplace / "runs" / name / "wandb"))
    del held.history[2]  # of the first session
    held.history = [row | {"_step": step} for step, row in enumerate(held.history)]
    first.unlink(missing_ok=True)
    read, original = [], upload_status.read_records
    monkeypatch.setattr(upload_status, "read_records", lambda file: read.append(file) or original(file))
    assert sync.sync(workplace / "runs") == []
    assert len(read) == 2  # each session once
    assert held.state == "finished"
    assert {row["_timestamp"] for row in held.history} == times
    own = {key for key in metrics if not key.startswith("_")}
    assert {key: held.summary.get(key) for key in own} == {key: metrics[key] for key in own}
    assert "failure" not in held.summary
    held.exit_code = 1  # the end of the second session was lost
    second.unlink()
    assert sync.sync(workplace / "runs") == []
    assert held.state == "finished"


def test_an_offline_session_that_arrives_after_a_later_one_leaves_summary_state_and_aliases_to_it(
    server, offline, tracked, workplace, monkeypatch
):
    def end(_callback, trainer, *_):
        if trainer.global_step == 5:  # in the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    def always_better(settings, run, **_):
        return callbacks(settings, run, monitor="epoch", mode="max")

    callbacks = checkpoint.checkpoint_callbacks
    monkeypatch.setattr(train, "checkpoint_callbacks", always_better)
    words = ("tracking.log_model=all", "tracking.alerts.rules=[{metric: train/loss, op: '>', value: -1}]")
    with monkeypatch.context() as patched:
        patched.setattr(Preemption, "on_before_optimizer_step", end)
        with pytest.raises(SystemExit):
            offline("trainer.max_epochs=2", *words)
    tracked("resume=auto", "trainer.max_epochs=3", *words)

    def received():
        """The summary without W&B's own values, the state, and the epoch and digest of each alias."""
        models = [artifact for artifact in server.artifacts if artifact.type == "model"]
        aliases = {alias: (model.metadata["epoch"], model.digest) for model in models for alias in model.aliases}
        return {key: held.summary[key] for key in held.summary if key[0] != "_"}, held.state, aliases

    ((name, held),) = server.runs.items()
    before, config = received(), dict(held.config)
    assert {row["epoch"] for row in held.history if MONITOR in row} == {1, 2}
    server.alerts.clear()
    newest = upload_status.sessions(workplace / "runs" / name / "wandb")[-1].file
    running = newest.parents[1] / f"run-99999999_000000-{name}"
    running.mkdir()
    (running / newest.name).write_bytes(newest.read_bytes()[:2000])
    (problem,) = sync.sync(workplace / "runs")
    assert "still running" in problem
    shutil.rmtree(running)
    assert received() == before
    assert sync.sync(workplace / "runs") == []
    assert 0 in {artifact.metadata["epoch"] for artifact in server.artifacts if artifact.type == "model"}
    assert received() == before
    assert held.config == config
    assert sorted(row["epoch"] for row in held.history if MONITOR in row) == [0, 1, 2]
    assert before[1:] == ("finished", {alias: before[2][alias] for alias in ("best", "last", "latest")})
    assert [alert.run for alert in server.alerts] == [name]


def test_an_artifact_that_the_server_lacks_is_sent_again(server, offline, workplace):
    run = offline()
    assert sync.sync(workplace / "runs") == []
    held = server.runs[run.name]
    held.logged = [artifact for artifact in held.logged if artifact.type != "model"]
    assert sync.sync(workplace / "runs", again=True) == []
    (model,) = [artifact for artifact in held.logged if artifact.type == "model"]
    assert {*model.aliases} == {"best", "latest"}
    assert {row["_timestamp"] for row in held.history} == {row["_timestamp"] for row in history(run)}
    assert held.state == "finished"


def test_runs_of_two_folders_with_the_same_id_are_not_mixed(server, offline, tracked, workplace, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_RUN_ID", "left-over")
    first = offline()
    aside = first.rename(workplace / "aside")
    second = offline()
    assert sync.sync(workplace / "runs") == []
    held, rows = server.runs["left-over"], len(history(second))
    second.rename(workplace / "second")
    aside.rename(first)  # its file names absolute paths
    (problem,) = sync.sync(workplace / "runs")
    assert "another run with the id left-over" in problem
    assert "uv run wandb sync --id left-over-2 " in problem
    first.rename(aside)
    third = tracked("trainer.max_epochs=1")
    assert "it is not tracked." in caplog.text
    assert (third / "metrics.json").is_file()
    assert len(held.history) == rows


def test_a_run_that_was_trained_elsewhere_and_goes_on_here_is_uploaded(server, tracked, offline, workplace):
    run = tracked("trainer.max_epochs=1")
    shutil.rmtree(run / "wandb")
    offline(f"resume={run.name}", "trainer.max_epochs=2")
    assert sync.sync(workplace / "runs") == []
    held = server.runs[run.name]
    assert {row["epoch"] for row in held.history if MONITOR in row} == {0, 1}
    assert held.state == "finished"


def test_a_run_with_missing_files_stops_no_other_and_is_uploaded_later(server, offline, workplace):
    broken, whole = offline(), offline()
    (model,) = artifacts(broken, "model")
    staged = workplace / entries(model)["best.ckpt"]
    content = staged.read_bytes()
    staged.unlink()
    (problem,) = sync.sync(workplace / "runs")
    assert broken.name in problem
    assert "1 of its files are missing" in problem
    assert set(server.runs) == {whole.name}
    assert not file_of(broken).with_name(f"{file_of(broken).name}.synced").exists()
    staged.write_bytes(content)
    server.fault = "unauthorized"
    assert len(sync.sync(workplace / "runs")) == 1
    assert (broken / registry.PENDING).exists()
    server.fault = None
    assert sync.sync(workplace / "runs") == []
    assert set(server.runs) == {broken.name, whole.name}


def rows_of(run):
    """The rows that the first session of a run has recorded, by their time."""
    return upload_status.sessions(run / "wandb")[0].rows


def scores_of(run):
    return [row[MONITOR] for row in rows_of(run).values() if MONITOR in row]


def test_a_run_that_loses_its_server_is_recorded_and_completed_later(server, tracked, workplace, monkeypatch, caplog):
    caplog.set_level("INFO")
    original = images.ValidationImages.send

    def dying(self, trainer, samples):
        server.die()
        original(self, trainer, samples)

    monkeypatch.setattr(images.ValidationImages, "send", dying)
    run = tracked("trainer.max_epochs=2", "tracking.finish_timeout=3")
    assert (run / "metrics.json").is_file()
    assert len(scores_of(run)) == 2
    assert "the upload is not complete" in caplog.text
    with Server() as another:
        monkeypatch.setenv("WANDB_BASE_URL", another.url)
        assert sync.sync(workplace / "runs") == []
        uploaded = another.runs[run.name]
        assert len([row for row in uploaded.history if MONITOR in row]) == 2
        (model,) = [artifact for artifact in another.artifacts if artifact.type == "model"]
        assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()
        assert [artifact.type for artifact in uploaded.used] == ["dataset"]
        assert another.unknown == []


@pytest.mark.parametrize(
    ("fault", "log_data"),
    [*((fault, "reference") for fault in (*FAULTS, "new key")), ("unauthorized", "null")],
)
def test_a_run_that_is_refused_in_the_middle_counts_as_not_arrived_until_sync_brings_all(
    server, tracked, workplace, monkeypatch, caplog, fault, log_data
):
    caplog.set_level("INFO")
    original = images.ValidationImages.send

    def refused(self, trainer, samples):
        server.fault = "unauthorized" if fault == "new key" else fault
        original(self, trainer, samples)

    with monkeypatch.context() as patched:
        patched.setattr(images.ValidationImages, "send", refused)
        run = tracked("trainer.max_epochs=2", "tracking.finish_timeout=3", f"tracking.log_data={log_data}")
    (line,) = [text for text in caplog.messages if "the upload is not complete" in text]
    assert "uv run wandb-sync" in line
    assert not list(run.glob("wandb/run-*/complete"))
    server.fault = None
    if fault == "new key":
        monkeypatch.setenv("WANDB_API_KEY", "rotated0" * 5)
    link = {"artifact": f"model-{run.name}:best", "target": "wandb-registry-model/own", "alias": "production"}
    registry.postpone(Run(run), {"action": "link", "min_metric": None, "force": False, **link})
    assert sync.sync(workplace / "runs") == []
    received = server.runs[run.name]
    charts = [*tables.FIGURES, "per_class", "predictions"]
    assert received.state == "finished"
    times = [*rows_of(run)]
    assert [round(row["_timestamp"], 6) for row in received.history[: len(times)]] == times
    own = [name for row in received.history[len(times) :] for name in row if name.startswith("test/")]
    assert {name.removesuffix("_table") for name in own} <= {f"test/{name}" for name in charts}
    scores = scores_of(run)
    assert received.summary[MONITOR] == {"last": scores[-1], METRICS[MONITOR]: max(scores)}
    folders = [session.file.parent / "files" for session in upload_status.sessions(run / "wandb")]
    media = {
        path.relative_to(folder).as_posix(): path
        for folder in folders
        for path in folder.glob("media/**/*")
        if path.is_file()
    }
    assert {path.suffix for path in media.values()} >= {".jpg", ".json"}
    assert {name: received.files.get(name) for name in media} == {name: media[name].read_bytes() for name in media}
    logged_tables = [artifact for artifact in received.logged if artifact.type == "run_table"]
    names = sorted(name for table in logged_tables for name in table.files if name.startswith("test/"))
    assert names == [f"test/{name}.table.json" for name in ("per_class", "predictions_table")]
    (model,) = [artifact for artifact in server.artifacts if artifact.type == "model"]
    assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()
    assert [artifact.type for artifact in received.used] == ([] if log_data == "null" else ["dataset"])
    assert server.links[0].artifact is model
    assert list(run.glob("wandb/run-*/complete"))
    assert sync.sync(workplace / "runs") == []


def test_a_session_that_cannot_be_recorded_again_does_not_stay_open(server, tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    send, finish, failed = images.ValidationImages.send, wandb.Run.finish, []

    def refused(self, trainer, samples):
        server.fault = "unauthorized"
        send(self, trainer, samples)

    def fail_once(self, **words):
        if self.offline and not failed:
            failed.append(self)
            raise OSError("planted")
        finish(self, **words)

    monkeypatch.setattr(images.ValidationImages, "send", refused)
    monkeypatch.setattr(wandb.Run, "finish", fail_once)
    run = tracked("trainer.max_epochs=1", "tracking.finish_timeout=3")
    assert exit_code(run) == 1
    assert len([text for text in caplog.messages if "the upload is not complete" in text]) == 1


def test_a_data_set_that_could_not_be_logged_is_logged_later(server, tracked, workplace, monkeypatch, caplog):
    caplog.set_level("INFO")
    original = lineage.fingerprint

    def refused(root):
        server.fault = "error"
        return original(root)

    with monkeypatch.context() as patched:
        patched.setattr(lineage, "fingerprint", refused)
        run = tracked("trainer.max_epochs=1", "tracking.finish_timeout=3")
    assert "logging the data failed" in caplog.text
    server.fault = None
    assert sync.sync(workplace / "runs") == []
    (data,) = [artifact for artifact in server.artifacts if artifact.type == "dataset"]
    assert original(workplace / "data" / "shapes") in data.aliases
    assert "samples.table.json" in data.files
    received = server.runs[run.name]
    assert received.used == [data]
    assert received.state == "finished"
    assert not (run / registry.PENDING).exists()


@pytest.fixture
def started(workplace, monkeypatch):
    """A function that starts a run of W&B in a run folder, without a training."""

    def start(**described):
        folder = workplace / "runs" / "a-run"
        folder.mkdir(parents=True)
        monkeypatch.setenv("WANDB_DATA_DIR", str(folder / "wandb" / "data"))
        quick = wandb.Settings(silent=True, console="off", finish_timeout=3, x_file_stream_transmit_interval=0.1)
        return wandb.init(**{"project": "shapes", "id": folder.name, "dir": folder, "settings": quick} | described)

    return start


def end(run, code=0):
    run.finish(exit_code=code)
    teardown()  # it writes the files


def wait_for(reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("lost", ["server", "key"])
def test_config_that_the_server_refused_arrives_later_and_no_alert_twice(server, started, workplace, lost):
    run = started(config={"data": {"name": "shapes"}, "kept": 1})
    run.alert("first", "received", "WARN")
    run.log({"loss": 2.0})
    wait_for(lambda: server.runs["a-run"].history and server.alerts)
    server.fault = "unauthorized"
    if lost == "server":
        run.log({"loss": 1.0})
    run.config.update({"data_fingerprint": "abc", "trained_in": "another"})
    end(run, 1)
    server.fault = None
    held = server.runs["a-run"]
    assert "trained_in" not in held.config
    assert sync.sync(workplace / "runs") == []
    assert [alert.title for alert in server.alerts] == ["first"]
    assert held.config == {"data": {"name": "shapes"}, "kept": 1, "data_fingerprint": "abc", "trained_in": "another"}
    assert [row["loss"] for row in held.history] == [2.0, 1.0][: len(held.history)]
    assert held.state == "failed"


def test_a_table_that_the_server_has_lost_is_logged_again_with_its_images(server, started, workplace):
    run = started(mode="offline")
    image = wandb.Image(np.zeros((8, 8, 3), np.uint8), caption="a star", file_type="jpg")
    run.log({"test/own": wandb.Table(columns=["image", "loss"], data=[[image, 0.5], [image, 1.5]])})
    end(run)
    assert sync.sync(workplace / "runs") == []
    held = server.runs["a-run"]
    (before,) = held.logged
    held.logged.clear()
    assert sync.sync(workplace / "runs", again=True) == []
    (after,) = held.logged
    assert after.collection == before.collection

    def content(table):
        """The rows without the paths, with the images' files instead."""
        rows = json.loads(table.files["test/own.table.json"])["data"]
        for image, _ in rows:
            image["path"] = table.files[image["path"]]
        return rows

    assert content(after) == content(before)
    assert [row["test/own"]["nrows"] for row in held.history] == [2, 2]


@pytest.mark.parametrize("project", ["shapes", None])
@pytest.mark.parametrize("tracking", ["null", "[{_target_: another}]", "{tensorboard: {_target_: another}}"])
def test_waiting_actions_are_done_where_the_run_is_whatever_it_was_resumed_with(
    server, started, workplace, project, tracking
):
    run = started(project=project, mode="offline")
    (workplace / "weights").write_text("of a model")
    model = wandb.Artifact("model-a-run", "model", metadata={MONITOR: 0.5})
    model.add_file("weights")
    run.log_artifact(model, aliases=["best"])
    end(run)
    folder = Run(workplace / "runs" / "a-run")
    folder.settings_file.write_text(f"tracking: {tracking}")
    link = {"artifact": "model-a-run:best", "target": "wandb-registry-model/own", "alias": "production"}
    registry.postpone(folder, {"action": "link", "min_metric": None, "force": False, **link})
    registry.postpone(folder, {"action": "use", "artifact": "model-a-run:best"})
    assert sync.sync(workplace / "runs") == []
    assert server.links[0].artifact.collection == "model-a-run"
    assert [artifact.collection for artifact in server.runs["a-run"].used] == ["model-a-run"]


def test_a_link_that_the_server_refuses_is_made_later(server, tracked, workplace, monkeypatch, capsys):
    run = tracked("trainer.max_epochs=1")
    server.fault = "error"
    monkeypatch.setattr("sys.argv", ["promote", f"checkpoint={run.name}", "alias=production"])
    promote.main()
    assert "wandb-sync will make" in capsys.readouterr().out
    server.fault = None
    assert sync.sync(workplace / "runs") == []
    assert server.links[0].artifact.collection == f"model-{run.name}"
