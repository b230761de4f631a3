"""``wandb-sync``: nothing is marked as sent that has not been sent whole."""

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.task import MONITOR
from {{ cookiecutter.package_name }}.tracking import pending, pictures
from {{ cookiecutter.package_name }}.tracking.sync import missing_files, records, sync

from reading import artifacts, entries, file_of, history
from tracked import KEY


@pytest.fixture
def offline(tracked, monkeypatch):
    """A training without a key."""

    def run(*overrides):
        with monkeypatch.context() as patched:
            patched.delenv("WANDB_API_KEY", raising=False)
            return tracked("trainer.max_epochs=1", *overrides)

    return run


def test_offline_runs_are_uploaded_and_what_waits_is_done(server, offline, workplace, capsys):
    one, two = offline("tracking.alerts.finished=true"), offline("seed=1")
    action = {
        "action": "link",
        "artifact": f"model-{one.name}:best",
        "target": "wandb-registry-model/own",
        "alias": "production",
        "bar": None,
        "force": False,
    }
    pending.postpone(Run(one), action)
    assert not server.runs
    assert sync(workplace / "runs") == []
    assert set(server.runs) == {one.name, two.name}
    for run in (one, two):
        sent = server.runs[run.name]
        assert sent.state == "finished"
        assert len(sent.history) == len(history(run))
        assert {kind.type for kind in sent.used} == {"dataset"}
        assert not (run / pending.FILE).exists()
    assert [alert.title for alert in server.alerts] == ["Run finished"]
    (model,) = [art for art in server.artifacts if art.collection == f"model-{one.name}"]
    assert model.files["best.ckpt"] == (one / "checkpoints" / "best.ckpt").read_bytes()
    assert server.links[0].artifact.collection == f"model-{one.name}"
    assert KEY.encode() not in server.bodies()
    assert "2 of 2 runs uploaded" in capsys.readouterr().out
    assert sync(workplace / "runs") == []
    assert "0 of 0 runs uploaded" in capsys.readouterr().out


def test_a_run_whose_files_are_gone_is_not_marked_and_stops_no_other(server, offline, workplace):
    broken, whole = offline(), offline()
    (model,) = artifacts(broken, "model")
    staged = workplace / entries(model)["best.ckpt"]
    content = staged.read_bytes()
    staged.unlink()
    assert len(missing_files(records(file_of(broken)))) == 1
    (line, waiting) = sync(workplace / "runs")
    assert broken.name in line
    assert "1 of its files are gone" in line
    assert "not uploaded yet" in waiting
    assert set(server.runs) == {whole.name}
    assert not file_of(broken).with_name(f"{file_of(broken).name}.synced").exists()
    staged.write_bytes(content)
    assert sync(workplace / "runs") == []
    assert set(server.runs) == {broken.name, whole.name}


def test_a_server_that_refuses_leaves_all_as_it_was(server, offline, workplace):
    run = offline()
    server.fault = "unauthorized"
    (line, _) = sync(workplace / "runs")
    assert run.name in line
    assert (run / pending.FILE).exists()
    server.fault = None
    assert sync(workplace / "runs") == []


def test_a_run_that_lost_its_server_is_completed(server, tracked, workplace, monkeypatch):
    from standin import Server

    original = pictures.TrackedPictures.send

    def dying(self, trainer, shown):
        server.die()
        original(self, trainer, shown)

    monkeypatch.setattr(pictures.TrackedPictures, "send", dying)
    run = tracked("trainer.max_epochs=1", "tracking.finish_timeout=1")
    with Server() as another:
        monkeypatch.setenv("WANDB_BASE_URL", another.url)
        assert sync(workplace / "runs") == []
        sent = another.runs[run.name]
        assert len([row for row in sent.history if MONITOR in row]) == 1
        assert [art.collection for art in another.artifacts if art.type == "model"]
        assert another.unknown == []


def test_a_folder_that_is_not_there_is_named(workplace, monkeypatch):
    from {{ cookiecutter.package_name }}.tracking.sync import main

    monkeypatch.setattr("sys.argv", ["wandb-sync", "nowhere"])
    with pytest.raises(SystemExit, match="nowhere is no folder"):
        main()
