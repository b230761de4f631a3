"""``wandb-sync``: a run is marked as uploaded only if all of it has arrived."""

import pytest
from reading import artifacts, entries, file_of, history, logged
from server import Server
from shape_sorter.run.folder import Run
from shape_sorter.task import MONITOR
from shape_sorter.tracking import images, sync
from tracked import KEY


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
    sync.postpone(Run(first), {"action": "link", "min_metric": None, "force": False, **link})
    assert not server.runs
    assert sync.sync(workplace / "runs") == []
    assert "2 of 2 runs uploaded" in capsys.readouterr().out
    for run in (first, second):
        uploaded = server.runs[run.name]
        assert uploaded.state == "finished"
        assert len(uploaded.history) == len(history(run))
        assert {artifact.type for artifact in uploaded.used} == {"dataset"}
        assert not (run / sync.PENDING).exists()
    assert [alert.title for alert in server.alerts] == ["Run finished"]
    (model,) = [artifact for artifact in server.artifacts if artifact.collection == f"model-{first.name}"]
    assert model.files["best.ckpt"] == (first / "checkpoints" / "best.ckpt").read_bytes()
    assert server.links[0].artifact is model
    assert KEY.encode() not in server.bodies()
    assert sync.sync(workplace / "runs") == []
    assert "0 of 0 runs uploaded" in capsys.readouterr().out


def test_a_run_with_missing_files_stops_no_other_and_is_uploaded_later(server, offline, workplace):
    broken, whole = offline(), offline()
    (model,) = artifacts(broken, "model")
    staged = workplace / entries(model)["best.ckpt"]
    content = staged.read_bytes()
    staged.unlink()
    problem, waiting = sync.sync(workplace / "runs")
    assert broken.name in problem
    assert "1 of its files are missing" in problem
    assert "not uploaded yet" in waiting
    assert set(server.runs) == {whole.name}
    assert not file_of(broken).with_name(f"{file_of(broken).name}.synced").exists()
    staged.write_bytes(content)
    server.fault = "unauthorized"
    assert len(sync.sync(workplace / "runs")) == 2
    assert (broken / sync.PENDING).exists()
    server.fault = None
    assert sync.sync(workplace / "runs") == []
    assert set(server.runs) == {broken.name, whole.name}


def test_a_run_that_loses_its_server_is_recorded_and_completed_later(server, tracked, workplace, monkeypatch, caplog):
    caplog.set_level("INFO")
    original = images.ValidationImages.send

    def dying(self, trainer, samples):
        server.die()
        original(self, trainer, samples)

    monkeypatch.setattr(images.ValidationImages, "send", dying)
    run = tracked("trainer.max_epochs=2", "tracking.finish_timeout=3")
    assert (run / "metrics.json").is_file()
    assert len(logged(run, MONITOR)) == 2
    assert "the upload is not complete" in caplog.text
    assert sync.pending(Run(run))[-1]["artifact"] == f"model-{run.name}"
    with Server() as another:
        monkeypatch.setenv("WANDB_BASE_URL", another.url)
        assert sync.sync(workplace / "runs") == []
        uploaded = another.runs[run.name]
        assert len([row for row in uploaded.history if MONITOR in row]) == 2
        (model,) = [artifact for artifact in another.artifacts if artifact.type == "model"]
        assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()
        assert another.unknown == []
