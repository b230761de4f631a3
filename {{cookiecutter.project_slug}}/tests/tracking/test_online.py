"""What reaches a server. It is a stand-in: it shows what is sent, not what W&B accepts."""

import json
import os
import signal

import pytest
import wandb

from {{ cookiecutter.package_name }}.task import MONITOR
from {{ cookiecutter.package_name }}.tracking import lineage
from {{ cookiecutter.package_name }}.training.callbacks.preemption import Preemption

from small import OWN
from tracked import KEY, TRACKED

PLAIN = ("trainer=cpu", "tracking=wandb")


def test_training_evaluation_and_prediction_arrive_with_their_lineage(server, tracked, own_data):
    run = tracked(OWN, f"data.root={own_data}", "tracking.tags=[one]")
    sent = server.runs[run.name]
    assert sent.state == "finished"
    assert sent.config["model"]["backbone"] == "test_resnet"
    assert sent.tags == ["one"]
    assert [row["epoch"] for row in sent.history if MONITOR in row] == [0, 1]
    assert any(name.startswith("media/images/val/") for name in sent.files)
    (model,) = [one for one in server.artifacts if one.type == "model"]
    assert set(model.aliases) == {"best", "latest"}
    assert model.files["best.ckpt"] == run.joinpath("checkpoints", "best.ckpt").read_bytes()
    scores = [row[MONITOR] for row in sent.history if MONITOR in row]
    assert model.metadata[MONITOR] == pytest.approx(max(scores))
    assert model.metadata["run"] == run.name
    assert model.metadata["data"] == sent.config["data_fingerprint"]
    (data,) = [one for one in server.artifacts if one.type == "dataset"]
    assert sent.config["data_fingerprint"] in data.aliases
    assert data in sent.used

    checkpoint = f"checkpoint=wandb:model-{run.name}:best"
    evaluated = tracked(checkpoint, name="evaluate", small=PLAIN)
    told = server.runs[evaluated.name]
    assert told.job_type == "evaluate"
    assert {model.id, data.id} <= {one.id for one in told.used}
    test = MONITOR.replace("val", "test")
    assert json.loads((evaluated / "metrics.json").read_text())[test] == told.summary[test]
    assert "test/predictions" in told.summary

    predicted = tracked(checkpoint, f"source={own_data}", name="predict", small=PLAIN)
    told = server.runs[predicted.name]
    assert model.id in {one.id for one in told.used}
    (made,) = [one for one in server.artifacts if one.type == "predictions"]
    assert made.logged_by == predicted.name
    assert made.files["predictions.json"] == (predicted / "predictions.json").read_bytes()
    assert KEY.encode() not in server.bodies()
    for path in run.parent.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_the_same_data_are_one_version_and_other_data_another(server, tracked, monkeypatch):
    drawn = []
    draw = lineage.data_table
    monkeypatch.setattr(lineage, "data_table", lambda *words: drawn.append(1) or draw(*words))
    first = tracked("trainer.max_epochs=1")
    second = tracked("trainer.max_epochs=1", "seed=1")
    versions = [one for one in server.artifacts if one.type == "dataset"]
    assert len(versions) == 1
    assert len(drawn) == 1  # the server is asked before anything is prepared
    for run in (first, second):
        assert versions[0].id in {one.id for one in server.runs[run.name].used}
    (first.parents[1] / "data" / "shapes" / "notes.txt").write_text("changed")
    tracked("trainer.max_epochs=1")
    assert len([one for one in server.artifacts if one.type == "dataset"]) == 2


def test_data_can_be_sent_by_content(server, tracked, own_data):
    tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1", "tracking.log_data=content")
    (data,) = [one for one in server.artifacts if one.type == "dataset"]
    assert next(own_data.rglob("*.jpg")).read_bytes() in data.files.values()


def test_nothing_is_logged_that_is_not_wanted(server, tracked):
    tracked("trainer.max_epochs=1", "tracking.log_data=null", "tracking.log_model=null")
    assert not [one for one in server.artifacts if one.type in {"dataset", "model"}]


def test_a_resumed_training_continues_its_run(server, tracked):
    run = tracked()
    tracked(f"resume={run.name}", "trainer.max_epochs=3")
    assert list(server.runs) == [run.name]
    rows = server.runs[run.name].history
    assert [row["epoch"] for row in rows if MONITOR in row] == [0, 1, 2]
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))


def test_a_training_that_gave_its_machine_back_continues_its_run(
    server, tracked, workplace, monkeypatch
):
    def send(self, trainer, *_):
        if trainer.global_step == 5:  # in the midst of the second epoch
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patched:
        patched.setattr(Preemption, "on_train_batch_start", send)
        with pytest.raises(SystemExit):
            tracked()
    ((name, kept),) = server.runs.items()
    assert "SIGUSR1" in kept.summary["failure"]
    tracked("resume=auto")
    assert list(server.runs) == [name]
    assert kept.state == "finished"
    assert [row["epoch"] for row in kept.history if MONITOR in row] == [0, 1]


def test_models_without_an_alias_are_deleted_on_request(server, tracked, monkeypatch):
    always_better(monkeypatch)
    tracked(
        "trainer.max_epochs=3", "tracking.log_model_every_n_epochs=1", "tracking.prune_models=true"
    )
    models = [one for one in server.artifacts if one.type == "model"]
    assert len(models) > 1
    kept = [one for one in models if one.state != "DELETED"]
    assert len(kept) == 1
    assert "best" in kept[0].aliases


def always_better(monkeypatch):
    """Each checkpoint is new, whatever the score."""
    from {{ cookiecutter.package_name }}.training import trainer

    original = trainer.checkpoint_callbacks

    def without_monitor(settings, run, *, monitor, mode):
        return original(settings, run, monitor="epoch", mode="max")

    from {{ cookiecutter.package_name }} import train

    monkeypatch.setattr(train, "checkpoint_callbacks", without_monitor)


def test_the_last_checkpoint_is_logged_on_request(server, tracked):
    tracked("trainer.max_epochs=1", "tracking.log_model=all")
    aliases = [set(one.aliases) for one in server.artifacts if one.type == "model"]
    assert {"best", "last"} <= set().union(*aliases)


def test_alerts_are_delivered(server, tracked):
    run = tracked("trainer.max_epochs=1", "tracking.alerts.finished=true")
    assert [(one.run, one.title) for one in server.alerts] == [(run.name, "Run finished")]


def test_a_checkpoint_that_is_not_there_is_named(server, tracked):
    with pytest.raises(SystemExit, match="no-such-model:best cannot be fetched"):
        tracked("checkpoint=wandb:no-such-model:best", name="evaluate", small=PLAIN)


def test_a_multirun_arrives_as_runs_of_their_own(server, command):
    from small import SHAPES

    command("train", *TRACKED, *SHAPES, "-m", "seed=1,2", "trainer.max_epochs=1")
    wandb.teardown()
    assert [run.config["seed"] for run in server.runs.values()] == [1, 2]
    assert [run.state for run in server.runs.values()] == ["finished"] * 2
