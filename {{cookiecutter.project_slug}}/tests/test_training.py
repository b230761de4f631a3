import csv
import errno
import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.errors import NotFiniteError
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import METRICS, MONITOR, Settings
from {{ cookiecutter.package_name }}.training.callbacks.each_step import FiniteLoss

from small import OWN, SMALL, composed, write_unsplit_data

FIGURES = ("confusion_matrix", "per_class", "precision_recall", "thresholds")


def metrics_of(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def epochs_with(run, metric):
    return [int(row["epoch"]) for row in metrics_of(run) if row.get(metric)]


def test_shapes_are_not_drawn_into_a_folder_of_other_files(train, own_data):
    before = sorted(own_data.rglob("*"))
    with pytest.raises(SystemExit, match="is not one of its folders"):
        train(f"data.root={own_data}")
    assert sorted(own_data.rglob("*")) == before


@pytest.mark.figures
def test_a_training_writes_all_files_of_a_run(train):
    run = train()
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    (named,) = (run / "checkpoints").glob("epoch=*-step=*-val_*=*.ckpt")
    assert written == {
        f"checkpoints/{named.name}",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "best_predictions.png",
        "config.yaml",
        "curves.png",
        "environment.json",
        "metrics.csv",
        "metrics.json",
        "predictions/epoch_000.png",
        "predictions/epoch_001.png",
        "report.html",
        "worst_predictions.png",
        *(f"{name}.{kind}" for name in FIGURES for kind in ("png", "csv")),
    }
    assert epochs_with(run, MONITOR) == [0, 1]
    # ~ if cookiecutter.task == "classification" and cookiecutter.scope == "complete"
    measured = {*METRICS} - {"val/mAP"}  # of images with several labels
    # ~ else
    measured = {*METRICS}
    # ~ endif
    assert {"train/loss", "train/lr", "train/grad_norm", *measured} <= set(metrics_of(run)[0])
    assert json.loads((run / "metrics.json").read_text())[MONITOR.replace("val", "test")] <= 1
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["backbone"] == "test_resnet"
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert "model.backbone=test_resnet" in environment["command"]
    with Image.open(run / "predictions" / "epoch_001.png") as sheet:
        assert min(sheet.size) > 300


def test_resume_auto_continues_the_newest_unfinished_run_in_its_folder(train, command):
    finished = train()
    (finished / "metrics.json").unlink()  # as if it had been stopped before the test
    finished.rename(finished.with_name("2000-01-01_stopped"))
    train()
    resumed = command("train", "resume=auto", "trainer.max_epochs=4")
    assert resumed.name == "2000-01-01_stopped"
    assert epochs_with(resumed, MONITOR) == [0, 1, 2, 3]
    assert (resumed / "metrics.json").is_file()
    assert (
        yaml.safe_load((resumed / "config.yaml").read_text())["model"]["backbone"] == "test_resnet"
    )


def test_a_finished_run_is_continued_by_its_id(train, command, capsys):
    run = train()
    again = command("train", f"resume={run.name}", "trainer.max_epochs=3")
    assert again == run
    best = run / "checkpoints" / "best.ckpt"
    epoch = torch.load(best, weights_only=True)["epoch"]
    assert f"Tested: {best}, saved in epoch {epoch}\n" in capsys.readouterr().out
    assert epochs_with(run, MONITOR) == [0, 1, 2]


def test_resume_without_an_unfinished_run_is_refused(command):
    with pytest.raises(SystemExit) as stopped:
        command("train", "resume=nowhere")
    assert "there is no checkpoint" in str(stopped.value.code)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(train, command):
    steady = ("trainer.deterministic=true", "schedule.warmup=0", "schedule.final_lr=1")
    whole = train(*steady, "trainer.max_epochs=2")
    half = train(*steady, "trainer.max_epochs=1")
    command("train", f"resume={half.name}", "trainer.max_epochs=2")
    ends = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, half)]
    assert ends[0]["global_step"] == ends[1]["global_step"]
    assert ends[0]["trained_weights"]["updates"] == ends[1]["trained_weights"]["updates"]


def test_no_command_writes_into_the_folder_of_a_training(train, command, monkeypatch):
    run = train()
    contents = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    monkeypatch.setattr(hydra_launch, "new_run_id", lambda: run.name)
    monkeypatch.setattr(Run, "replaced_files", {})  # as in another process
    with pytest.raises(SystemExit) as stopped:
        command("evaluate", f"checkpoint={run}/checkpoints/best.ckpt")
    assert "holds the results of another command" in str(stopped.value.code)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == contents


def test_evaluate_measures_a_split(train, command):
    run = train()
    result = command(
        "evaluate",
        f"checkpoint={run}/checkpoints/best.ckpt",
        "split=val",
        "tracking=none",
        "trainer=cpu",
    )
    measured = json.loads((result / "metrics.json").read_text())
    best = max(float(row[MONITOR]) for row in metrics_of(run) if row[MONITOR])
    assert measured[MONITOR] == pytest.approx(best, abs=1e-6)
    (row,) = metrics_of(result)
    assert {name.partition("/")[0] for name in row} == {"epoch", "step", "val"}
    assert float(row[MONITOR]) == measured[MONITOR]


def test_predict_draws_and_tabulates(train, command, own_data):
    run = train(OWN, f"data.root={own_data}")
    photo = own_data / "photo (1), sunny.jpg"
    Image.new("RGB", (60, 40), (200, 40, 20)).save(photo)
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    single = command("predict", checkpoint, f"source={photo}", "tracking=none", "trainer=cpu")
    rows = json.loads((single / "predictions.json").read_text())
    assert [row["image"] for row in rows] == [str(photo)]
    with Image.open(single / "predictions" / "photo (1), sunny.jpg") as picture:
        assert picture.width >= 168

    images = sorted(own_data.rglob("*.jpg"))
    whole = command(
        "predict", checkpoint, f"source={own_data}/**/*.jpg", "tracking=none", "trainer=cpu"
    )
    with (whole / "predictions.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == [str(path) for path in images]
    # Equal names in different folders do not overwrite each other.
    assert len(list((whole / "predictions").glob("*.jpg"))) == len(images)


def test_another_network_than_that_of_the_checkpoint_is_refused(train, command):
    checkpoint = f"checkpoint={train('trainer.max_epochs=1')}/checkpoints/best.ckpt"
    with pytest.raises(SystemExit) as stopped:
        command("evaluate", checkpoint, "model.backbone=resnet10t", "tracking=none", "trainer=cpu")
    assert "holds another network" in str(stopped.value.code)


@pytest.mark.parametrize(
    ("word", "message"),
    [("model.backbone=resnet10t", "holds another network"), ("seed=0", "was trained on")],
)
def test_a_run_with_another_network_or_other_classes_is_not_resumed(train, command, word, message):
    run = train("trainer.max_epochs=1")
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    if message == "was trained on":  # as if the folder of a class had been renamed since then
        torch.save(content | {"classes": content["classes"][::-1]}, last)
    with pytest.raises(SystemExit) as stopped:
        command("train", f"resume={run.name}", "trainer.max_epochs=2", word)
    assert message in str(stopped.value.code)
    assert (run / "metrics.json").is_file()


def test_predict_does_not_replace_the_predictions_of_another_command(
    train, command, own_data, monkeypatch
):
    run = train("trainer.max_epochs=1")
    words = (f"checkpoint={run}/checkpoints/best.ckpt", "tracking=none", "trainer=cpu")
    first = command("predict", f"source={own_data}", *words)
    table = (first / "predictions.csv").read_text()
    monkeypatch.setattr(hydra_launch, "new_run_id", lambda: first.name)
    monkeypatch.setattr(Run, "replaced_files", {})  # as in another process
    (image, *_) = own_data.rglob("*.jpg")
    with pytest.raises(SystemExit) as stopped:
        command("predict", f"source={image}", *words)
    assert "holds the results of another command" in str(stopped.value.code)
    assert (first / "predictions.csv").read_text() == table


def test_predict_in_several_processes_is_refused(train, command, own_data):
    run = train("trainer.max_epochs=1")
    words = (f"checkpoint={run}/checkpoints/best.ckpt", f"source={own_data}", "tracking=none")
    with pytest.raises(SystemExit) as stopped:
        command("predict", *words, "trainer=ddp", "trainer.accelerator=cpu")
    assert "predict runs in one process" in str(stopped.value.code)


def test_unreadable_images_are_counted_and_listed(train, own_data):
    broken = next(own_data.rglob("*.jpg"))
    broken.write_bytes(b"no image")
    overrides = (OWN, f"data.root={own_data}")
    with pytest.raises(SystemExit) as stopped:
        train(*overrides)
    assert f"{broken} cannot be read" in str(stopped.value.code)
    run = train(*overrides, "data.skip_unreadable=true", "loader.batch_size=5")
    assert json.loads((run / "metrics.json").read_text())["unreadable_images"] == 1
    assert (run / "unreadable.txt").read_text() == f"{broken}\n"


def test_a_resumed_training_still_lists_what_it_left_out_but_not_in_the_test(
    train, command, own_data
):
    overrides = (OWN, f"data.root={own_data}", "tracking=none")
    datasets = build_datasets(check(composed(*overrides), Settings).data)
    images = [Path(str(split.paths[0])) for split in (datasets.test, datasets.train)]
    contents = [image.read_bytes() for image in images]
    for image in images:
        image.write_bytes(b"no image")
    size = len(datasets.train) // 2
    run = train(*overrides, "data.skip_unreadable=true", f"loader.batch_size={size}")
    listed = run / "unreadable.txt"
    assert {*listed.read_text().splitlines()} == {*map(str, images)}
    for image, content in zip(images, contents, strict=True):
        image.write_bytes(content)
    command("train", f"resume={run.name}", "trainer.max_epochs=3")
    assert listed.read_text() == f"{images[1]}\n"
    assert json.loads((run / "metrics.json").read_text())["unreadable_images"] == 1


def test_batches_of_unreadable_images_are_left_out_of_validation_and_test(train, own_data):
    overrides = (OWN, f"data.root={own_data}", "tracking=none", "data.split=[0.4,0.3,0.3]")
    datasets = build_datasets(check(composed(*overrides), Settings).data)
    images = [*datasets.val.paths[:2], *datasets.test.paths[:2]]
    for image in images:
        Path(image).write_bytes(b"no image")
    sizes = ("loader.batch_size=2", "trainer.limit_train_batches=2", "trainer.max_epochs=1")
    settings = ("data.skip_unreadable=true", "model.backbone=test_resnet")
    run = train(*overrides, *settings, *sizes)
    assert {*map(str, images)} <= {*(run / "unreadable.txt").read_text().splitlines()}
    assert json.loads((run / "metrics.json").read_text())["unreadable_images"] == len({*images})


def test_a_validation_split_without_a_readable_image_is_refused_before_the_first_step(
    train, own_data
):
    overrides = (OWN, f"data.root={own_data}", "data.skip_unreadable=true")
    settings = check(composed(*overrides, "tracking=none"), Settings)
    for path in build_datasets(settings.data).val.paths:
        Path(path).write_bytes(b"no image")
    with pytest.raises(SystemExit, match="None of the images of val can be read"):
        train(*overrides, "trainer.max_epochs=1")
    assert not [*Path("runs").iterdir()]


def test_a_damaged_image_of_any_split_is_named_before_the_first_step(train, own_data):
    overrides = (OWN, f"data.root={own_data}")
    datasets = build_datasets(check(composed(*overrides, "tracking=none"), Settings).data)
    for split in (datasets.train, datasets.val, datasets.test):
        path = Path(split.paths[-1])
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(SystemExit, match=rf"{re.escape(str(path))} cannot be read: "):
            train(*overrides, "trainer.max_epochs=1")
        path.write_bytes(content)
    assert not [*Path("runs").iterdir()]


@pytest.mark.parametrize(
    "overrides",
    [
        ("optimizer=sgd",),
        # ~ if cookiecutter.task == "classification"
        ("model.mixup=0.2", "model.cutmix=1.0"),
        ("model.backbone=test_vit", "model.channels_last=false"),
        # ~ elif cookiecutter.task == "detection"
        # ~ if cookiecutter.scope == "complete"
        ("model.architecture=retinanet",),
        ("model.architecture=fasterrcnn",),
        ("model.architecture=ssdlite",),
        ("data.image_size=64", "model.architecture=dfine"),
        # ~ endif
        ("data.augment.rotate=30", "data.augment.color=0.2"),
        # ~ elif cookiecutter.task == "segmentation"
        ("model.architecture=fpn", "model.loss=[focal]"),
        ("data.augment.rotate=30", "data.augment.color=0.2"),
        # ~ endif
        ("ema.enabled=false",),
        # ~ if cookiecutter.task == "detection"
        # At 32 px the top of the pyramid has one pixel, for which bf16 convolutions on some CPUs
        # give gradients that are not finite (torch 2.15).
        ("optimizer.clip_norm=null", "trainer.precision=bf16-mixed", "data.image_size=128"),
        # ~ else
        ("optimizer.clip_norm=null", "trainer.precision=bf16-mixed"),
        # ~ endif
        ("loader.workers=1",),
        ("trainer.patience=1",),
    ],
    ids=" ".join,
)
def test_a_training_runs_with_other_settings(train, overrides):
    assert (train(*overrides, "trainer.max_epochs=1") / "metrics.json").is_file()


@pytest.mark.parametrize("preset", ["fast", "limit", "overfit", "profile"])
def test_debug_presets_train(command, preset, caplog):
    caplog.set_level("INFO")
    prefixes = ("model.", "loader.workers", "trainer.progress", "tracking")
    tiny = [word for word in SMALL if word.startswith(prefixes)]
    images = ("data.train_images=100", "data.val_images=50", "data.test_images=50")
    run = command("train", f"debug={preset}", *tiny, *images, "loader.batch_size=5")
    part, used = "Only a part of the images is used: ", "trainer.limit_train_batches=1, "
    assert (part in caplog.text, used in caplog.text) == (True, preset == "fast")
    if preset == "profile":
        assert any(run.glob("*profile*"))
    if preset == "overfit":
        losses = [float(row["train/loss"]) for row in metrics_of(run) if row["train/loss"]]
        assert losses[-1] < losses[0] / 2


def test_one_run_for_each_value_of_a_multirun(train, workplace):
    train("-m", "seed=1,2", "trainer.max_epochs=1")
    runs = sorted(path.parent for path in workplace.glob("runs/*/config.yaml"))
    assert [run.name.rsplit("-", 1)[-1] for run in runs] == ["0", "1"]
    assert {yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs} == {1, 2}
    # ~ if cookiecutter.scope == "complete"
    (table,) = workplace.glob("runs/multirun/*/results.csv")
    assert table.parent.name == runs[0].name.removesuffix("-0")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["run"], row["seed"], row["state"]) for row in rows} == {
        (runs[0].name, "1", "finished"),
        (runs[1].name, "2", "finished"),
    }
    scores = [float(row[MONITOR]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert table.with_name("results.png").is_file()
    # ~ endif
    assert all((run / "metrics.json").is_file() for run in runs)


def test_a_failed_job_of_a_multirun_does_not_stop_the_other_jobs(train, workplace, capsys):
    with pytest.raises(SystemExit) as stopped:
        train("-m", "model.backbone=no_such_net,test_resnet", "trainer.max_epochs=1")
    assert stopped.value.code == 1
    (failure,) = workplace.glob("runs/*/failure.txt")
    assert "timm has no such model" in failure.read_text()
    # ~ if cookiecutter.scope == "complete"
    (table,) = workplace.glob("runs/multirun/*/results.csv")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["model.backbone"], row["state"]) for row in rows] == [
        ("test_resnet", "finished"),
        ("no_such_net", "failed"),
    ]
    assert "timm has no such model" in rows[1]["reason"]
    assert str(table.relative_to(workplace)) in capsys.readouterr().out
    # ~ endif
    assert len([*workplace.glob("runs/*/metrics.json")]) == 1


def test_a_full_disk_keeps_the_previous_checkpoint_and_is_reported(train, workplace, monkeypatch):
    write = Path.write_bytes
    written = []

    def until_it_is_full(path, content):
        written.append(path.name)
        if sum(name.endswith(".last.ckpt") for name in written) > 1:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", until_it_is_full)
        with pytest.raises(SystemExit) as stopped:
            train("trainer.max_epochs=3")
    assert "disk is full" in str(stopped.value.code)
    (run,) = (workplace / "runs").iterdir()
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert {name for name in names if "=" not in name} == {"best.ckpt", "last.ckpt"}
    assert len(names) == 3
    train("resume=auto", "trainer.max_epochs=3")
    assert [int(row["epoch"]) for row in metrics_of(run) if row[MONITOR]] == [0, 1, 2]


@pytest.mark.parametrize("setting", ["data.root=empty", "model.backbone=resnet5"])
def test_a_refused_training_leaves_no_run_folder(train, workplace, own_data, setting):
    (workplace / "empty").mkdir()
    with pytest.raises(SystemExit):
        train(OWN, f"data.root={own_data}", setting)
    assert not [*workplace.glob("runs/*")]


def test_a_crash_while_data_are_read_leaves_its_reason(train, workplace, monkeypatch):
    read = "{{ cookiecutter.package_name }}.train.build_datasets"
    monkeypatch.setattr(read, lambda data: 1 / 0)
    with pytest.raises(SystemExit):
        train()
    (failure,) = workplace.glob("runs/*/failure.txt")
    assert "ZeroDivisionError" in failure.read_text()


def test_a_loss_that_is_not_finite_in_the_first_step_leaves_its_reason(
    train, workplace, monkeypatch
):
    def diverge(*_):
        raise NotFiniteError("The loss is nan.")

    monkeypatch.setattr(FiniteLoss, "on_train_batch_end", diverge)
    with pytest.raises(SystemExit):
        train()
    (failure,) = workplace.glob("runs/*/failure.txt")
    assert "The loss is nan." in failure.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("data.root=nowhere",),
        ("model.backbone=test_resnet2",),
        ("trainer.max_epochs=1",),  # Lightning refuses fewer epochs than there were
        ("loader.workers=1", "data.root=damaged", "data.split=[0.5,0.3,0.2]"),
    ],
)
def test_a_resume_that_is_refused_changes_no_file_of_the_run(train, command, own_data, words):
    run = train(OWN, f"data.root={own_data}", "trainer.max_epochs=3")
    (run / "failure.txt").touch()
    write_unsplit_data(Path("damaged"))
    for path in Path("damaged").rglob("*.jpg"):
        path.write_bytes(b"no image")
    before = {path: path.is_file() and path.read_bytes() for path in run.rglob("*")}
    with pytest.raises(SystemExit):
        command("train", f"resume={run.name}", *words)
    assert {path: path.is_file() and path.read_bytes() for path in run.rglob("*")} == before
    command("train", f"resume={run.name}", "trainer.max_epochs=4")
    assert not (run / "failure.txt").exists()
    assert epochs_with(run, MONITOR) == [0, 1, 2, 3]


def test_a_wrong_backbone_suggests_near_ones(train):
    with pytest.raises(SystemExit) as stopped:
        train("model.backbone=resnet5")
    assert "resnet50" in str(stopped.value.code)


def test_a_failed_download_of_pretrained_weights_is_explained(train, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit) as stopped:
        train("model.backbone=resnet18", "model.pretrained=true")
    assert "the weights of resnet18 cannot be downloaded" in str(stopped.value.code)
    assert "model.pretrained=false" in str(stopped.value.code)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is to be missing")
@pytest.mark.parametrize(
    "setting", ["trainer.accelerator=cuda", "trainer.devices=", "trainer.devices=-2"]
)
def test_a_missing_device_is_reported_without_a_traceback(train, setting):
    with pytest.raises(SystemExit) as stopped:
        train(setting)
    assert "The trainer cannot be built" in str(stopped.value.code)


def test_a_file_that_is_no_checkpoint_is_named(command, workplace):
    (workplace / "a.ckpt").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as stopped:
        command("evaluate", "checkpoint=a.ckpt", "tracking=none")
    assert "a.ckpt cannot be read" in str(stopped.value.code)
