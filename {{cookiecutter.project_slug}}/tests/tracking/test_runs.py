# ~ if cookiecutter.task == "detection"
import json
# ~ endif
import sys

# ~ if cookiecutter.task == "segmentation"
import numpy as np
# ~ endif
import pytest
# ~ if cookiecutter.task != "classification"
import torch
# ~ endif
import wandb
# ~ if cookiecutter.task != "classification"
import yaml
# ~ endif
from PIL import Image

# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.data.images import read_image
# ~ endif
from {{ cookiecutter.package_name }}.run import new_run_id
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.settings import Settings
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR, build_datasets
# ~ else
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR
# ~ endif
from {{ cookiecutter.package_name }}.tracking import session

from reading import as_dict, exit_code, history, records, started
from small import OWN, SHAPES, SMALL

TRACKED = tuple(word for word in SMALL if not word.startswith("tracking"))


@pytest.fixture
def tracked(command):
    """A small training with ``tracking=wandb``, finished and flushed."""

    def run(*overrides, name="train", small=TRACKED):
        other = name != "train" or any(word.startswith("data=") for word in overrides)
        try:
            return command(name, *small, *(() if other else SHAPES), "tracking=wandb", *overrides)
        finally:
            wandb.teardown()

    return run


def test_without_a_key_the_run_is_kept_offline_and_says_so(tracked, caplog):
    caplog.set_level("INFO")
    run = tracked()
    lines = [record.message for record in caplog.records if record.name == session.__name__]
    assert len(lines) == 1
    assert "no API key" in lines[0]
    assert "wandb sync" in lines[0]
    assert exit_code(run) == 0


def test_settings_and_identity_reach_the_run(tracked):
    run = tracked("tracking.group=a-group", "tracking.tags=[one,two]", "tracking.notes=some notes")
    record = started(run)
    assert record.run_id == run.name
    assert record.project == "{{ cookiecutter.project_slug }}"
    assert record.run_group == "a-group"
    assert record.job_type == "train"
    assert list(record.tags) == ["one", "two"]
    assert record.notes == "some notes"
    config = as_dict(record.config.update)
    assert config["model"]["backbone"] == "test_resnet"
    assert config["data"]["train_images"] == 40
    assert set(config["git"]) == {"commit", "dirty"}


def test_project_and_entity_come_from_the_environment(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "another")
    monkeypatch.setenv("WANDB_ENTITY", "a-team")
    record = started(tracked("trainer.max_epochs=1"))
    assert (record.project, record.entity) == ("another", "a-team")


def test_metrics_of_every_epoch_are_there(tracked):
    rows = history(tracked())
    assert [row["epoch"] for row in rows if MONITOR in row] == [0, 1]
    keys = set().union(*rows)
    assert {
        "train/loss",
        "train/lr",
        "train/grad_norm",
        *METRICS,
        MONITOR.replace("val", "test"),
    } <= keys


def test_charts_go_by_epoch_and_the_summary_is_the_best(tracked):
    run = tracked("trainer.max_epochs=1")
    defined = {
        record.metric.name: record.metric for record in records(run) if record.HasField("metric")
    }
    for name, goal in METRICS.items():
        assert defined[name].step_metric == "epoch"
        assert getattr(defined[name].summary, goal)


def test_images_carry_target_and_prediction(tracked):
    run = tracked("tracking.images=5")
    logged = [row["val/predictions"] for row in history(run) if "val/predictions" in row]
    assert len(logged) == 2
    for media in logged:
        assert len(media["filenames"]) == len(media["captions"]) == 5
        for name in media["filenames"]:
            (path,) = run.glob(f"wandb/offline-run-*/files/{name}")
            with Image.open(path) as image:
                assert image.size == (32, 32)
    assert all(isinstance(text, str) for text in logged[0]["captions"])


# ~ if cookiecutter.task == "detection"
def test_boxes_of_prediction_and_target_can_be_laid_over_the_images(tracked):
    run = tracked("tracking.images=3", "trainer.max_epochs=1", "model.score_threshold=0")
    (media,) = [row["val/predictions"] for row in history(run) if "val/predictions" in row]
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    dataset = build_datasets(settings.data).val
    chosen = torch.linspace(0, len(dataset) - 1, settings.pictures.count).long()[:3]
    assert len(media["all_boxes"]) == 3
    for boxes, position, name in zip(
        media["all_boxes"], chosen.tolist(), media["filenames"], strict=True
    ):
        drawn = {}
        for key in ("prediction", "target"):
            (path,) = run.glob(f"wandb/offline-run-*/files/{boxes[key]['path']}")
            drawn[key] = json.loads(path.read_text())
            names = drawn[key]["class_labels"]
            assert list(names.values()) == ["circle", "cross", "square", "star", "triangle"]
        truth = dataset[position].target
        found = [list(one["position"].values()) for one in drawn["target"]["box_data"]]
        torch.testing.assert_close(torch.tensor(found).reshape(-1, 4), truth.boxes)
        labels = [one["class_id"] for one in drawn["target"]["box_data"]]
        assert labels == truth.labels.tolist()
        for one in drawn["prediction"]["box_data"]:
            corners = [one["position"][side] for side in ("minX", "minY", "maxX", "maxY")]
            assert 0 <= corners[0] <= corners[2] <= 1
            assert 0 <= corners[1] <= corners[3] <= 1
            assert one["box_caption"].endswith(f"{one['scores']['score']:.0%}")
        (image,) = run.glob(f"wandb/offline-run-*/files/{name}")
        pixels = read_image(image).float()  # the same image: JPEG changes it but a little
        assert (pixels - dataset[position].image.float()).abs().mean() < 25


# ~ elif cookiecutter.task == "segmentation"
def test_masks_of_prediction_and_target_can_be_laid_over_the_images(tracked):
    run = tracked("tracking.images=3", "trainer.max_epochs=1")
    (media,) = [row["val/predictions"] for row in history(run) if "val/predictions" in row]
    names = ["background", "circle", "cross", "square", "star", "triangle"]
    assert len(media["all_masks"]) == 3
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    dataset = build_datasets(settings.data).val
    chosen = torch.linspace(0, len(dataset) - 1, settings.pictures.count).long()[:3]
    for masks, position in zip(media["all_masks"], chosen.tolist(), strict=True):
        assert set(masks) == {"prediction", "target"}
        stored = {}
        for key, mask in masks.items():
            (path,) = run.glob(f"wandb/offline-run-*/files/{mask['path']}")
            with Image.open(path) as ids:
                stored[key] = torch.from_numpy(np.array(ids.convert("L")))
            assert stored[key].max() < len(names)
        assert torch.equal(stored["target"], dataset[position].target)


# ~ endif
@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")]
)
def test_the_environment_turns_tracking_off(tracked, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    run = tracked("tracking.mode=online", "trainer.max_epochs=1")
    assert (run / "metrics.json").is_file()
    assert not (run / "wandb").exists()


def test_an_empty_mode_is_none(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("WANDB_API_KEY", "")
    assert exit_code(tracked("trainer.max_epochs=1")) == 0


def test_a_server_that_cannot_be_reached_means_offline(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    run = tracked("trainer.max_epochs=1", "tracking.init_timeout=1")
    assert "cannot be reached" in caplog.text
    assert [row for row in history(run) if MONITOR in row]
    for path in run.rglob("*"):
        assert not path.is_file() or b"0" * 40 not in path.read_bytes(), path


def test_without_the_package_training_goes_on(tracked, monkeypatch, caplog):
    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        patched.setattr(session.metadata, "version", _not_installed)
        patched.setitem(sys.modules, "wandb", None)  # importing it would raise
        run = tracked("trainer.max_epochs=1")
    assert (run / "metrics.json").is_file()
    assert "not installed" in caplog.text


def _not_installed(name):
    raise session.metadata.PackageNotFoundError(name)


def test_a_failed_training_ends_as_failed(tracked, workplace, own_data):
    next(own_data.rglob("*.jpg")).write_bytes(b"no image")
    with pytest.raises(SystemExit):
        tracked(OWN, f"data.root={own_data}")
    (run,) = (workplace / "runs").iterdir()
    assert exit_code(run) == 1


def test_evaluate_and_predict_make_runs_of_their_own(tracked, own_data):
    run = tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    evaluated = tracked(checkpoint, name="evaluate", small=("trainer=cpu",))
    predicted = tracked(checkpoint, f"source={own_data}", name="predict", small=("trainer=cpu",))
    assert started(evaluated).job_type == "evaluate"
    assert any(MONITOR.replace("val", "test") in row for row in history(evaluated))
    assert started(predicted).job_type == "predict"
    assert exit_code(evaluated) == exit_code(predicted) == 0


def test_a_multirun_makes_one_run_for_each_job(command, workplace, monkeypatch):
    monkeypatch.delenv("WANDB_DATA_DIR")
    command("train", *TRACKED, *SHAPES, "tracking=wandb", "-m", "seed=1,2", "trainer.max_epochs=1")
    wandb.teardown()
    runs = sorted(
        folder for folder in (workplace / "runs").iterdir() if (folder / "config.yaml").is_file()
    )
    assert [started(run).run_id for run in runs] == [run.name for run in runs]
    assert [as_dict(started(run).config.update)["seed"] for run in runs] == [1, 2]


def test_a_key_reaches_nothing(tracked, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "planted0" * 5)
    run = tracked("tracking.mode=offline", "trainer.max_epochs=1")
    for path in run.rglob("*"):
        assert not path.is_file() or b"planted0" not in path.read_bytes(), path


def test_a_sweep_names_its_runs(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "from-the-agent")
    assert new_run_id() == "from-the-agent"


def test_secret_looking_settings_are_masked():
    tree = {"a": {"api_key": "x", "monitor": "y"}, "password": ""}
    assert session.masked(tree) == {"a": {"api_key": "***", "monitor": "y"}, "password": ""}
