import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.classification.module import (
    ClassificationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import Datasets
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.detection.module import DetectionModule as TaskModule
# ~ endif
from {{ cookiecutter.package_name }}.diagnostics import bench, doctor, image_checks
from {{ cookiecutter.package_name }}.diagnostics.data_pictures import (
    draw_class_balance,
    draw_sizes,
)
from {{ cookiecutter.package_name }}.diagnostics.image_checks import (
    COUNTED,
    DataReport,
    Issue,
    check_data,
)
from {{ cookiecutter.package_name }}.diagnostics.settings import (
    BenchSettings,
    DoctorSettings,
)
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.module import (
    SegmentationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

# ~ if cookiecutter.task == "detection"
import coco_data
# ~ endif
import small

QUICK = (*small.SMALL, "warmup=1", "steps=2", "trainer.progress=false")


# ~ if cookiecutter.task == "classification"
def write_faulty(root):
    """Images of noise, one class rare; returns the expected issues by kind."""
    random = np.random.default_rng(0)
    for split, ants in (("train", 45), ("val", 5), ("test", 5)):
        for name, count in (("ant", ants), ("bee", 2)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    ants = root / "train" / "ant"
    (ants / "again.png").write_bytes((ants / "1.png").read_bytes())
    Image.open(ants / "0.png").save(root / "val" / "bee" / "other.bmp")
    (ants / "broken.png").write_bytes((ants / "2.png").read_bytes()[:200])
    return {
        "leak": ["val/bee/other.bmp: the same pixels as .*train/ant/0.png$"],
        "contradiction": ["val/bee/other.bmp: .*train/ant/0.png, with other annotations"],
        "unreadable": ["train/ant/broken.png"],
        "duplicate": ["train/ant/again.png: the same pixels as .*train/ant/1.png"],
    }


# ~ elif cookiecutter.task == "detection"
def write_faulty(root):
    """The same images in all splits, and strange boxes; returns the expected issues by kind."""

    def spoil(split, content):
        if split == "train":
            objects = content["annotations"]
            objects[0]["bbox"] = [40, 6, 20, 16]
            objects[1]["bbox"] = [4, 6, 0, 10]
            objects[2]["bbox"] = [4, 6, 1, 10]
            objects.append({**objects[3], "id": 5000})

    coco_data.write_coco(root, spoil)
    (root / "train" / "9.jpg").write_bytes(b"")
    return {
        "leak": [f"{split}/{index}.jpg: the same" for split in ("val", "test") for index in "01"],
        "contradiction": [f"val/{index}.jpg: .*train/{index}.jpg, with other" for index in "01"],
        "unreadable": ["train/9.jpg"],
        "annotation": [
            "0.jpg: annotation 1000: the box is beyond the border",
            r"1.jpg: annotation 1001: the box has no area",
            "2.jpg: box 0 is 1 x 10 pixels",
            r"3.jpg: annotation \d+: repeated",
        ],
    }


# ~ elif cookiecutter.task == "segmentation"
def write_faulty(root):
    """The same images in all splits, and strange masks; returns the expected issues by kind."""
    small.write_own_data(root)
    Image.new("L", (48, 40), 7).save(root / "masks" / "train" / "0.png")
    Image.new("L", (48, 40), 255).save(root / "masks" / "train" / "1.png")
    (root / "images" / "train" / "2.jpg").write_bytes(b"")
    return {
        "leak": [f"{split}/{index}.jpg: the same" for split in ("val", "test") for index in "34"],
        "contradiction": ["val/1.jpg: .*train/1.jpg, with other annotations"],
        "unreadable": [r"masks/train/0.png: it holds the ids \[7\]", "images/train/2.jpg"],
        "annotation": ["images/train/1.jpg: nothing is labelled in its mask"],
    }


# ~ endif
@pytest.mark.figures
def test_doctor_prints_draws_and_lists_every_issue(command, tmp_path, capsys):
    root = tmp_path / "photos"
    planted = write_faulty(root)
    run = command("doctor", *QUICK, small.OWN, f"data.root={root}", "loader.batch_size=4")
    issues = json.loads((run / "doctor.json").read_text())["issues"]
    lines = [f"{issue['kind']} {issue['path']}: {issue['reason']}" for issue in issues]
    for kind, patterns in planted.items():
        for pattern in patterns:
            assert any(re.search(f"^{kind} .*{pattern}", line) for line in lines), pattern
    assert {issue["kind"] for issue in issues} == set(planted)
    printed = capsys.readouterr().out
    advice = f"uv run train data.image_size=32 .* {small.OWN} data.root={root} .*exclude={run}/"
    assert re.search(advice, printed)
    assert " steps=" not in printed
    # ~ if cookiecutter.task == "classification"
    assert len(issues) == 4
    assert "train has 46 images of ant, but 2 of bee" in printed
    excluded = (run / "exclude.txt").read_text().splitlines()
    wrong = ["train/ant/0.png", "val/bee/other.bmp", "train/ant/again.png", "train/ant/broken.png"]
    assert excluded == wrong
    without = [*QUICK, small.OWN, f"data.root={root}", "steps=0"]
    again = command("doctor", *without, f"data.exclude={run}/exclude.txt")
    report = json.loads((again / "doctor.json").read_text())
    assert report["issues"] == []
    assert report["images"] == {"train": 46, "val": 7, "test": 7}
    # ~ elif cookiecutter.task == "segmentation"
    ignored = json.loads((run / "doctor.json").read_text())["ignored_pixels"]
    assert ignored == {"train": 48 * 40, "val": 0, "test": 0}
    # ~ elif cookiecutter.task == "detection"
    assert len([issue for issue in issues if issue["kind"] == "annotation"]) == 4
    assert "train has no green" in printed
    # ~ endif
    leaks = len([issue for issue in issues if issue["kind"] == "leak"])
    assert f"Images in several splits: {leaks}." in printed
    for name in ("issues", "augmented", "class_balance"):
        with Image.open(run / f"{name}.png") as sheet:
            assert sheet.width >= 128


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.split_file=split.csv"], "data.root=x data.split_file=null"),
        (["data.split_by=cat"], "data.root=x data.split_by=cat data.split_seed=1"),
    ],
)
def test_the_advice_for_a_class_that_a_split_lacks_can_be_pasted(overrides, words):
    report = DataReport(counts={"train": np.array([0, 4]), "val": np.array([4, 0])})
    overrides = (small.OWN, "data.root=x", *overrides)
    settings = check(small.composed(*overrides, "tracking=none", name="doctor"), DoctorSettings)
    reading = Reading(new_splits=("train", "val"))
    datasets = Datasets([], [], [], ["cat", "dog"], list, reading=reading)
    given = ("steps=0", *overrides)
    assert [*doctor.class_advice(report, ["cat", "dog"], settings, datasets, given)] == [
        "train has no cat. Add such images, or choose other splits.",
        "val has no dog. Add such images, or choose other splits.",
        f"To split the images in another way:\n  uv run train {small.OWN} {words}",
    ]


def test_a_rare_class_is_named_beside_a_class_that_train_lacks():
    report = DataReport(counts={"train": np.array([0, 1001, 100]), "val": np.array([1, 1, 1])})
    settings = check(small.composed("tracking=none", name="doctor"), DoctorSettings)
    datasets = Datasets([], [], [], ["cat", "dog", "owl"], list)
    given = ("data.root=a;b",)
    missing, rare = doctor.class_advice(report, datasets.classes, settings, datasets, given)
    assert missing.startswith("train has no cat.")
    sentence, *commands = rare.splitlines()
    assert sentence.startswith(f"train has 1001 {COUNTED} of dog, but 100 of owl.")
    assert commands == [
        # ~ if cookiecutter.task != "segmentation"
        "  uv run train 'data.root=a;b' data.balance=0.5",
        # ~ endif
        # ~ if cookiecutter.task != "detection"
        "  uv run train 'data.root=a;b' loss.class_weights=balanced",
        # ~ endif
    ]


def test_doctor_names_images_without_a_visible_pixel(own_data, monkeypatch):
    composed = small.composed(small.OWN, f"data.root={own_data}", "tracking=none")
    settings = check(composed, Settings)
    first = str(build_datasets(settings.data).train.paths[0])
    monkeypatch.setattr(image_checks, "is_transparent", lambda path, _: path == first)
    report = check_data(build_datasets(settings.data), progress=False)
    (issue,) = report.issues_of_kind("transparent")
    assert issue.path == first
    name = Path(first).relative_to(own_data).as_posix()
    assert doctor.excluded_images([issue], own_data) == f"# {name}  transparent\n"


@pytest.mark.figures
def test_names_of_classes_are_no_formulas(tmp_path):
    report = DataReport(counts={"train": np.array([5, 4]), "val": np.array([1, 1])})
    for classes in (["cat", "dog"], ["a$_$", "dog"]):
        draw_class_balance(report, classes, tmp_path / f"{classes[0]}.png")
    with Image.open(tmp_path / "a$_$.png") as drawn, Image.open(tmp_path / "cat.png") as other:
        assert drawn.size == other.size


@pytest.mark.figures
def test_sizes_are_drawn_where_they_differ(tmp_path):
    one, two = np.full((9, 2), 64), np.array([[64, 80], [64, 81]])
    # ~ if cookiecutter.task == "detection"
    sides = {"train": np.array([[0.5, 0.5], [0.5, 0.75]], dtype=np.float32)}
    reports = {550: DataReport(sizes={"train": one}, sides=sides)}
    reports[1045] = DataReport(sizes={"train": one, "val": two}, sides=sides)
    # ~ else
    draw_sizes(DataReport(sizes={"train": one, "val": one}), tmp_path / "sizes.png")
    assert not (tmp_path / "sizes.png").exists()  # it would show a single dot
    reports = {550: DataReport(sizes={"train": one, "val": two})}
    # ~ endif
    for width, report in reports.items():
        draw_sizes(report, tmp_path / "sizes.png")
        with Image.open(tmp_path / "sizes.png") as drawn:
            assert drawn.width == width


def test_doctor_checks_the_data_alone_without_steps(command, monkeypatch):
    monkeypatch.delattr(doctor, "measure")
    run = command("doctor", *QUICK, *small.SHAPES, "steps=0")
    assert "milliseconds" not in json.loads((run / "doctor.json").read_text())


def test_doctor_finds_nothing_wrong_with_the_generated_data_and_times_it(command, capsys):
    run = command("doctor", *QUICK, *small.SHAPES)
    report = json.loads((run / "doctor.json").read_text())
    assert report["images"] == {"train": 40, "val": 20, "test": 20}
    assert not report["issues"]
    assert not (run / "issues.png").exists()
    assert list(report["milliseconds"]) == ["storage", "decode", "augment", "copy", "step"]
    assert min(report["milliseconds"].values()) >= 0
    printed = capsys.readouterr().out
    assert "Data: train 40 images" in printed
    assert "No problems found: all images can be read" in printed
    assert report["advice"] in printed


def test_doctor_says_what_training_says_of_the_data(command, capsys, monkeypatch):
    def refuse(reading):
        assert reading.images["val"] == 20
        reading.note("said later")
        raise UsageError("nothing to learn")

    def build(settings):
        datasets = build_datasets(settings)
        datasets.reading.note("a note")
        datasets.reading.leave_out("images", "too old", "a.jpg")
        return datasets

    build_datasets = doctor.build_datasets
    monkeypatch.setattr(doctor, "build_datasets", build)
    monkeypatch.setattr(doctor, "check_learnable", refuse)
    run = command("doctor", *QUICK, *small.SHAPES, "steps=0")
    printed = capsys.readouterr().out
    assert "Left out: 1 image (too old; the first is a.jpg).\na note\n\nnothing to learn" in printed
    report = json.loads((run / "doctor.json").read_text())
    assert report["left_out"][0]["reason"] == "too old"
    assert report["notes"] == ["a note", "said later"]


@pytest.mark.parametrize(
    ("issues", "expected"),
    [
        ([("leak", "val", "b"), ("leak", "test", "c")], ["a", "b"]),
        ([("leak", "val", "b"), ("leak", "val", "c"), ("duplicate", "train", "d")], list("abd")),
        ([("duplicate", "train", "b"), ("duplicate", "train", "c")], ["b", "c"]),
        ([("leak", "val", "a"), ("duplicate", "train", "b")], ["b"]),  # a is listed in two splits
        ([("leak", "val", "b"), ("contradiction", "test", "c")], ["a", "b", "c"]),
    ],
)
def test_one_of_all_images_with_the_same_pixels_is_kept(issues, expected):
    found = [Issue(kind, split, 0, f"root/{path}", "", "root/a") for kind, split, path in issues]
    found.append(Issue("annotation", "train", 0, "root/a", "small"))
    excluded = doctor.excluded_images(found, Path("root")).splitlines()
    assert sorted(set(excluded) - {"# a  annotation"}) == expected
    assert ("# a  annotation" in excluded) == ("a" not in expected)


STAGES = {"storage": 1.0, "decode": 1.0, "augment": 1.0, "copy": 0.0, "step": 1.0}


@pytest.fixture
def machine(monkeypatch):
    """Set the CPUs, and the memory in GB of a GPU that computes in bfloat16."""

    def set_up(cpus, memory=0):
        monkeypatch.setattr(bench, "usable_cpus", lambda: cpus)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(memory))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
        properties = SimpleNamespace(total_memory=1e9 * memory)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)

    return set_up


@pytest.mark.parametrize(("loader", "wait"), [(50, 0.05), (500, 0.6)])
@pytest.mark.parametrize(
    ("stages", "overrides", "expected"),
    [
        ({}, ["loader.workers=2"], "loader.workers=8"),
        ({"storage": 9.0}, [], "storage is the slowest stage; data.cache=disk"),
        ({"decode": 9.0}, [], "decode is the slowest stage; data.cache=disk"),
        ({"decode": 9.0}, ["data.cache=disk"], "faster disk"),
        ({"augment": 9.0}, [], "data.augment"),
    ],
)
def test_the_advice_for_a_slow_loader_names_the_setting_to_change(
    machine, loader, wait, stages, overrides, expected
):
    machine(cpus=8)
    rates = {"loader_images_per_second": loader, "model_images_per_second": 100, "data_wait": wait}
    settings = check(small.composed(*overrides, name="doctor"), BenchSettings)
    sentence = bench.advice(STAGES | stages, rates, settings)
    assert sentence.startswith(f"Training waits for data {wait:.0%} of the time")
    assert expected in sentence


def test_more_workers_than_those_of_auto_are_advised_where_there_are_more_cpus(machine):
    machine(cpus=64)
    rates = {"loader_images_per_second": 50, "model_images_per_second": 100, "data_wait": 0.5}
    settings = check(small.composed("loader.workers=auto", name="doctor"), BenchSettings)
    sentence = bench.advice(STAGES, rates, settings)
    assert sentence.endswith("loader.workers=64 uses all CPUs.")


@pytest.mark.parametrize(
    ("gpu", "memory", "overrides", "expected"),
    [
        (0, 7, [], "smaller model.backbone"),
        (80, 7, ["trainer=cpu"], "trainer.accelerator=gpu"),
        (80, 7, ["trainer.precision=32-true"], "trainer.precision=bf16-mixed"),
        (80, 7, ["loader.batch_size=24"], "loader.batch_size=48"),
        (80, 70, [], "model.compile=true"),
        (80, 70, ["model.compile=true"], "more GPUs"),
    ],
)
def test_the_advice_for_a_slow_model_names_the_setting_to_change(
    machine, gpu, memory, overrides, expected
):
    machine(8, gpu)
    rates = {"loader_images_per_second": 500, "model_images_per_second": 100, "data_wait": 0.01}
    settings = check(small.composed(*overrides, name="doctor"), BenchSettings)
    sentence = bench.advice(STAGES, rates | {"memory_gb": memory}, settings)
    assert sentence.startswith("The model takes most of the time")
    assert expected in sentence


def slow(function):
    def slowed(*arguments, **named):
        time.sleep(0.05)
        return function(*arguments, **named)

    return slowed


@pytest.mark.parametrize("limit", ["loader", "model"])
def test_bench_names_the_slower_of_loader_and_model(limit, command, monkeypatch, capsys):
    if limit == "loader":
        build = bench.build_datasets

        def build_slow(settings):
            datasets = build(settings)
            datasets.train.transform = slow(datasets.train.transform)
            return datasets

        monkeypatch.setattr(bench, "build_datasets", build_slow)
    else:
        monkeypatch.setattr(TaskModule, "training_step", slow(TaskModule.training_step))
    run = command("bench", *QUICK, *small.SHAPES, "warmup=2", "steps=7")
    rates = json.loads((run / "bench.json").read_text())
    loader, model = rates["loader_images_per_second"], rates["model_images_per_second"]
    assert (loader < model) == (limit == "loader")
    assert (rates["data_wait"] > 0.5) == (limit == "loader")
    assert rates["share_of_limit"] == rates["images_per_second"] / min(loader, model)
    lines = capsys.readouterr().out
    assert f"of what its {limit} allows" in lines
    assert re.search(r"(waits for data \d+%|The model takes most) of the time: \w+", lines)
    assert not (run / "checkpoints").exists()


def test_bench_refuses_several_processes(command):
    with pytest.raises(SystemExit, match="times one process"):
        command("bench", *QUICK, *small.SHAPES, "trainer=ddp", "trainer.accelerator=cpu")
