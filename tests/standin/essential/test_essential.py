"""What the server receives from a project with ``scope=essential``."""

import json
import shlex
import subprocess
import sys

import pytest
import wandb
from reading import file_of, history, logged
from shape_sorter.settings.schema import MONITOR
from shape_sorter.tracking import images
from tracked import KEY, PLAIN

TEST = MONITOR.replace("val", "test")


def upload(caplog, workplace):
    """Run the command that the log names for a later upload."""
    (line,) = [text for text in caplog.messages if "To upload it later: " in text]
    command = line.split("To upload it later: ")[1].removeprefix("uv run ")
    words = f"{shlex.quote(sys.executable)} -m {command}"
    done = subprocess.run(words, shell=True, cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_training_and_its_evaluation_arrive(server, tracked, caplog):
    caplog.set_level("INFO")
    run = tracked("tracking.tags=[a-tag]", "tracking.group=a-group", "trainer.save_top_k=2")
    trained = server.runs[run.name]
    assert (trained.state, trained.tags, trained.group) == ("finished", ["a-tag"], "a-group")
    assert trained.project == "shape-sorter"
    assert not (run / "team").exists()
    link = (run / "wandb-url.txt").read_text().strip()
    assert link.endswith(f"/runs/{run.name}")
    assert link in caplog.text
    assert trained.config["model"]["backbone"] == "test_resnet"
    assert "tracking" not in trained.config
    rows = [row for row in trained.history if MONITOR in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    names = {name for row in trained.history for name in row}
    assert {"train/loss", "train/lr", "train/grad_norm", "val/predictions", TEST} <= names
    assert len(trained.history) == len(history(run))
    assert trained.summary[MONITOR]["last"] == rows[-1][MONITOR]
    assert any(name.startswith("media/images/val/") for name in trained.files)
    if MONITOR == "val/mAP":
        assert any(name.startswith("media/metadata/boxes2D/") for name in trained.files)
    if MONITOR == "val/mIoU":
        assert any(name.startswith("media/images/mask/") for name in trained.files)
    (model,) = [artifact for artifact in server.artifacts if artifact.type == "model"]
    assert set(model.aliases) == {"best", "latest"}
    assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()
    scores = [row[MONITOR] for row in rows]
    assert model.metadata[MONITOR] == pytest.approx(max(scores))
    assert model.metadata["epoch"] == scores.index(max(scores))
    folder = tracked(f"checkpoint={run}/checkpoints/best.ckpt", name="evaluate", small=PLAIN)
    evaluated = server.runs[folder.name]
    assert (evaluated.job_type, evaluated.state) == ("evaluate", "finished")
    assert evaluated.summary[TEST] == json.loads((folder / "metrics.json").read_text())[TEST]
    assert KEY.encode() not in server.bodies()


def test_an_offline_run_is_uploaded_by_the_command_that_the_log_names(server, tracked, workplace, caplog, monkeypatch):
    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        patched.delenv("WANDB_API_KEY")
        run = tracked("trainer.max_epochs=1")
    assert not server.runs
    upload(caplog, workplace)
    received = server.runs[run.name]
    assert received.state == "finished"
    assert [row[MONITOR] for row in received.history if MONITOR in row] == logged(run, MONITOR)
    (model,) = [artifact for artifact in server.artifacts if artifact.type == "model"]
    assert model.files["best.ckpt"] == (run / "checkpoints" / "best.ckpt").read_bytes()


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden", "missing", "error", "new key"])
def test_a_run_that_is_refused_in_the_middle_counts_as_not_arrived(
    server, tracked, workplace, caplog, monkeypatch, fault
):
    caplog.set_level("INFO")
    original = images.ValidationImages.send

    def refused(self, trainer, samples):
        server.fault = "unauthorized" if fault == "new key" else fault
        original(self, trainer, samples)

    with monkeypatch.context() as patched:
        patched.setattr(images.ValidationImages, "send", refused)
        run = tracked("tracking.finish_timeout=3")
    assert (run / "metrics.json").is_file()
    assert caplog.text.count("the upload is not complete") == 1
    server.fault = None
    if fault == "new key":
        monkeypatch.setenv("WANDB_API_KEY", "rotated0" * 5)
    upload(caplog, workplace)
    received = server.runs[run.name]
    assert received.state == "finished"
    assert [row["epoch"] for row in received.history if MONITOR in row] == [0, 1]
    files = {path.name for path in file_of(run).parent.glob("files/media/images/**/*.jpg")}
    assert files
    assert files <= {name.split("/")[-1] for name in received.files}
    assert "logging the model failed" in caplog.text  # it stays in the run folder


@pytest.mark.parametrize(("code", "state"), [(0, "crashed"), (0, "failed"), (1, "crashed"), (1, "running")])
def test_a_run_whose_end_the_server_lacks_counts_as_not_arrived(
    server, tracked, workplace, caplog, monkeypatch, code, state
):
    """The server answers again when the run ends, but has not heard of it for some time."""
    caplog.set_level("INFO")
    original = wandb.Run.finish

    def finish(self, **_):
        original(self, exit_code=code)
        (run,) = server.runs.values()
        run.complete, run.exit_code, run.crashed = state == "failed", 1, state == "crashed"

    monkeypatch.setattr(wandb.Run, "finish", finish)
    if code:
        monkeypatch.setattr(images.ValidationImages, "send", lambda *_: sys.exit(code))
        with pytest.raises(SystemExit):
            tracked("trainer.max_epochs=1")
    else:
        tracked("trainer.max_epochs=1")
    assert caplog.text.count("the upload is not complete (the server has not received the end of the run)") == 1
    upload(caplog, workplace)
    (received,) = server.runs.values()
    assert received.state == ("failed" if code else "finished")


@pytest.mark.parametrize("fault", ["unauthorized", "hang", "refused", "no key"])
def test_without_a_server_that_answers_the_run_is_recorded_offline(
    server, tracked, workplace, caplog, monkeypatch, fault
):
    caplog.set_level("INFO")
    server.fault = fault if fault in {"unauthorized", "hang"} else None
    if fault == "refused":
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if fault == "no key":
        monkeypatch.setenv("WANDB_API_KEY", "short")
    run = tracked("trainer.max_epochs=1", "tracking.init_timeout=1", "tracking.mode=online")
    assert (run / "metrics.json").is_file()
    assert len(logged(run, MONITOR)) == 1
    assert ("API key must have 40+ characters" if fault == "no key" else "CommError") in caplog.text
    assert not server.runs
    if fault in {"unauthorized", "hang"}:
        server.fault = None
        upload(caplog, workplace)
        received = server.runs[run.name]
        assert (received.state, len(received.history)) == ("finished", len(history(run)))
