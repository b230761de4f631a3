"""What the server receives. As it is a stand-in, this does not show what W&B accepts."""

import json
import os
import re
import shutil
import signal

import pytest
from shape_sorter.clusters.preemption import Preemption
from shape_sorter.settings.schema import MONITOR
from shape_sorter.tracking import lineage
from small import OWN
from tracked import KEY, PLAIN

DATA = f"data-{OWN.split('=')[1]}"  # the artifact of one's own data


def of_type(server, kind):
    return [artifact for artifact in server.artifacts if artifact.type == kind]


def test_a_training_an_evaluation_and_a_prediction_arrive_with_their_lineage(server, tracked, own_data, caplog):
    caplog.set_level("INFO")
    run = tracked(
        OWN,
        f"data.root={own_data}",
        "tracking.tags=[a-tag]",
        "tracking.alerts.finished=true",
        "tracking.watch=all",
    )
    assert "not complete" not in caplog.text
    assert list(run.glob("wandb/run-*/complete"))
    assert not list(run.glob("wandb/data/artifacts"))  # copies of the model and of the images in tables
    link = (run / "wandb-url.txt").read_text().strip()
    assert link.endswith(f"/runs/{run.name}")
    assert link in caplog.text
    trained = server.runs[run.name]
    assert (trained.state, trained.tags) == ("finished", ["a-tag"])
    assert trained.name.split()[-2:] == [OWN.split("=")[1], run.name.rsplit("_")[-1]]
    assert trained.config["model"]["backbone"] == "test_resnet"
    scores = [row[MONITOR] for row in trained.history if MONITOR in row]
    assert [row["epoch"] for row in trained.history if MONITOR in row] == [0, 1]
    assert any(name.startswith("media/images/val/") for name in trained.files)
    assert any(name.startswith("media/object3D/val/embeddings") for name in trained.files)
    names = {name for row in trained.history for name in row}
    assert {"train/lr", "train/grad_norm", "val/predictions", "val/epochs", "val/embeddings"} <= names
    assert {name.split("/")[0] for name in names} >= {"gradients", "parameters"}
    assert [(alert.run, alert.title) for alert in server.alerts] == [(run.name, "Run finished")]
    (model,) = of_type(server, "model")
    assert set(model.aliases) == {"best", "latest"}
    assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()
    assert model.metadata[MONITOR] == pytest.approx(max(scores))
    assert model.metadata["epoch"] == scores.index(max(scores))
    assert model.metadata["data"] == trained.config["data_fingerprint"]
    (data,) = of_type(server, "dataset")
    assert trained.config["data_fingerprint"] in data.aliases
    assert data in trained.used

    checkpoint = f"checkpoint=wandb:model-{run.name}:best"
    folder = tracked(checkpoint, name="evaluate", small=PLAIN)
    evaluated = server.runs[folder.name]
    assert evaluated.job_type == "evaluate"
    assert {model.id, data.id} <= {artifact.id for artifact in evaluated.used}
    test = MONITOR.replace("val", "test")
    assert json.loads((folder / "metrics.json").read_text())[test] == evaluated.summary[test]
    assert "test/predictions_table" in evaluated.summary

    folder = tracked(checkpoint, f"source={own_data}", name="predict", small=PLAIN)
    assert model in server.runs[folder.name].used
    (predictions,) = of_type(server, "predictions")
    assert predictions.logged_by == folder.name
    assert predictions.files["predictions.json"] == (folder / "predictions.json").read_bytes()

    with pytest.raises(SystemExit, match="no-such-model:best cannot be fetched"):
        tracked("checkpoint=wandb:no-such-model:best", name="evaluate", small=PLAIN)
    assert KEY.encode() not in server.bodies()
    for path in run.parent.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_training_starts_from_the_weights_of_an_artifact_which_is_an_input_of_the_run(server, tracked, caplog):
    caplog.set_level("INFO")
    words = ("trainer.max_epochs=1", "tracking.log_data=null")
    first = tracked(*words)
    (model,) = of_type(server, "model")
    run = tracked(*words, f"init=wandb:model-{first.name}:best")
    assert "Weights: 100 % from " in caplog.text
    trained = server.runs[run.name]
    assert trained.used == [model]
    with pytest.raises(SystemExit, match="init=wandb:no-such-model:best cannot be fetched"):
        tracked(*words, "init=wandb:no-such-model:best")


def test_a_run_that_several_processes_share_arrives(server, tracked, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "shared")
    run = tracked("trainer.max_epochs=1", "tracking.log_data=null")
    shared = server.runs[run.name]
    assert shared.state == "finished"
    assert [row["epoch"] for row in shared.history if MONITOR in row] == [0]


def test_a_data_set_is_a_version_for_each_fingerprint(server, tracked, monkeypatch, workplace):
    tables = []
    original = lineage.data_table
    monkeypatch.setattr(lineage, "data_table", lambda *words: tables.append(words) or original(*words))
    runs = [tracked("trainer.max_epochs=1"), tracked("trainer.max_epochs=1", "seed=1")]
    (version,) = of_type(server, "dataset")
    assert len(tables) == 1  # the server is asked before anything is prepared
    for run in runs:
        assert version in server.runs[run.name].used
    (workplace / "data" / "shapes" / "notes.txt").write_text("changed")
    tracked("trainer.max_epochs=1", "tracking.log_data=content")
    _, changed = of_type(server, "dataset")
    assert b"changed" in changed.files.values()


def test_a_data_set_is_downloaded_once_and_is_an_input_of_the_run(server, tracked, own_data, workplace, monkeypatch):
    (own_data / ".env").write_text("A_TOKEN=secret")
    image = min(own_data.rglob("*.jpg")).relative_to(own_data)
    linked = (own_data / image).parent.rename(workplace / "linked")
    (own_data / image).parent.symlink_to(linked)
    tracked(OWN, f"data.root={own_data}", "tracking.log_data=content", "trainer.max_epochs=1")
    (data,) = of_type(server, "dataset")
    assert f"data/{image.as_posix()}" in data.files
    assert not [name for name in data.files if ".env" in name]
    own_data.rename(workplace / "elsewhere")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(workplace / "another-machine"))
    words = (OWN, f"data.root=wandb:{DATA}:latest", "trainer.max_epochs=1")
    downloads = []
    for _ in range(2):
        before = len(server.received)
        run = tracked(*words)
        downloads.append(sum(request.startswith(b"GET /storage/") for request in server.received[before:]))
        trained = server.runs[run.name]
        assert trained.used == [data]
        assert re.fullmatch(rf"artifacts/{DATA}-v0-\w{{8}}/data", trained.config["data"]["root"])
        assert trained.config["data_fingerprint"] == data.metadata["fingerprint"]
    assert downloads[0] >= len(list(linked.rglob("*.jpg")))
    assert downloads[1] == 0
    assert of_type(server, "dataset") == [data]
    tracked(f"checkpoint={run}/checkpoints/best.ckpt", words[1], name="evaluate", small=PLAIN)
    server.fault = "error"
    with pytest.raises(SystemExit, match=r"(?s)data\.root=wandb:.*cannot be fetched: .*uv run wandb login"):
        tracked(*words)


def test_data_that_were_logged_by_reference_are_used_where_they_are(server, tracked, own_data, workplace):
    tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    words = (OWN, f"data.root=wandb:{DATA}:latest", "trainer.max_epochs=1")
    run = tracked(*words)
    assert server.runs[run.name].used == of_type(server, "dataset")
    (link,) = workplace.glob(f"artifacts/{DATA}-v0-*/data")
    assert link.resolve() == own_data
    (own_data / "notes.txt").write_text("changed")
    with pytest.raises(SystemExit, match=rf"has changed since it was fetched.\nRemove artifacts/{link.parent.name}"):
        tracked(*words)
    shutil.rmtree(link.parent)
    with pytest.raises(SystemExit, match=r"(?s)has changed.*tracking\.log_data=content"):
        tracked(*words)


def test_a_training_that_was_preempted_or_resumed_goes_on_in_its_run(server, tracked, monkeypatch):
    def preempt(_callback, trainer, *_):
        if trainer.global_step == 5:  # in the second epoch
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patched:
        patched.setattr(Preemption, "on_before_optimizer_step", preempt)
        with pytest.raises(SystemExit):
            tracked("tracking.tags=[typed]")
    ((name, run),) = server.runs.items()
    assert "SIGUSR1" in run.summary["failure"]
    run.name, run.tags = "renamed", ["typed", "added"]  # in the browser
    tracked("resume=auto", small=())  # without tracking=wandb, which would name the tags
    tracked(f"resume={name}", "trainer.max_epochs=3", small=())
    assert list(server.runs) == [name]
    assert (run.state, run.name, run.tags) == ("finished", "renamed", ["typed", "added"])
    assert "failure" not in run.summary
    assert [row["epoch"] for row in run.history if MONITOR in row] == [0, 1, 2]
    steps = [row["_step"] for row in run.history]
    assert steps == sorted(set(steps))


def test_a_training_that_is_resumed_with_other_data_uses_both_versions(server, tracked, workplace, caplog):
    caplog.set_level("INFO")
    run = tracked("trainer.max_epochs=1")
    (workplace / "data" / "shapes" / "notes.txt").write_text("changed")
    tracked(f"resume={run.name}", "trainer.max_epochs=2")
    first, second = of_type(server, "dataset")
    assert server.runs[run.name].used == [first, second]
    assert server.runs[run.name].config["data_fingerprint"] == second.metadata["fingerprint"]
    assert "failed" not in caplog.text
