"""Everything of a data set is either read or counted as left out, and training says so first."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.check_datasets import (
    check_learnable,
    check_outside_runs,
    note_frames,
)
from {{ cookiecutter.package_name }}.data.reading_summary import (
    Reading,
    number_of,
    report_reading,
)
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

# ~ if cookiecutter.task == "detection"
from coco_data import write_coco
from small import OWN, composed

# ~ else
from small import OWN, composed

# ~ endif
SPLITS = ("train", "val", "test")


def reading_of(root, *overrides):
    settings = check(composed(OWN, f"data.root={root}", "tracking=none", *overrides), Settings)
    datasets = build_datasets(settings.data)
    used = {path for split in SPLITS for path in getattr(datasets, split).paths}
    return datasets.reading, used


def test_the_images_that_are_read_and_left_out_are_those_on_the_disk(own_data):
    for name in ("loose.png", ".hidden/a.jpg", "__MACOSX/._a.jpg"):
        (own_data / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(own_data / name, format="PNG")
    (own_data / "photo.CR2").touch()
    (own_data / "gone.jpg").symlink_to(own_data / "nowhere.jpg")
    reading, used = reading_of(own_data)
    left_out = {(part.kind, Path(part.first).name): part.count for part in reading.left_out}
    assert left_out == {
        ("images", "loose.png"): 1,
        ("images", "photo.CR2"): 1,
        ("files or folders", ".hidden"): 3,
    }
    assert sum(reading.images.values()) == len(used)
    visible = {path for path in own_data.rglob("*.[jp][pn]g") if not path.is_symlink()}
    hidden = {path for path in visible if path.parent.name in {".hidden", "__MACOSX"}}
    # ~ if cookiecutter.task == "segmentation"
    hidden |= set((own_data / "masks").rglob("*.png"))
    # ~ endif
    assert len(used) + left_out["images", "loose.png"] == len(visible - hidden)


def account(counted="objects", **objects):
    reading = Reading(counted=counted)
    for split, labels in objects.items():
        reading.count(split, images=9, labels=labels, classes=["cat", "dog"])
    return reading


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (account(train=[], val=[0]), "train has 9 images, but no objects of cat, dog"),
        (account(train=[0], val=[]), "val has 9 images, .* so there is nothing to measure"),
        # ~ if cookiecutter.task == "classification"
        (account("images", train=[1] * 9, val=[0, 1]), "All images of train have the class dog"),
        (account("labels", train=[0] * 9 + [1] * 9, val=[0]), "have the class cat and dog, so"),
        # ~ endif
    ],
)
def test_a_training_that_can_learn_or_measure_nothing_is_refused(reading, reason):
    with pytest.raises(UsageError, match=reason):
        check_learnable(reading)


# ~ if cookiecutter.task == "classification"
def test_a_random_split_that_leaves_one_class_for_train_can_be_made_again():
    reading = account("images", train=[1] * 9, val=[0, 1])
    reading.new_splits = SPLITS
    with pytest.raises(UsageError, match=r"at random\. If val or test .* try data\.split_by=null"):
        check_learnable(reading)


# ~ endif
@pytest.mark.parametrize(("name", "other"), [("Cat", "cat"), (" cat", "cat"), ("1.0", "1")])
def test_classes_that_may_be_the_same_are_noted(name, other):
    reading = Reading()
    reading.count("train", images=4, labels=[0, 1, 2, 3], classes=[name, other, "dog", "1.5"])
    (note,) = reading.notes
    assert note.startswith(f"The classes {name} and {other} differ in case, spaces, invis")


def test_animations_and_pages_are_noted(tmp_path):
    image = Image.new("RGB", (8, 8))
    for name, frames in {"a.gif": 1, "b.gif": 3, "c.tif": 2, "d.webp": 1, "e.png": 2}.items():
        others = [Image.new("RGB", (8, 8), (number, 9, 9)) for number in range(1, frames)]
        several = {"save_all": True, "append_images": others} if others else {}
        image.save(tmp_path / name, **several)
    (tmp_path / "f.gif").write_text("damaged")
    reading = Reading()
    paths = sorted(map(str, tmp_path.iterdir()))
    note_frames({"train": paths[:1], "val": paths[3:4]}, reading)
    assert reading.notes == []
    note_frames({"train": paths[:2], "val": paths[2:]}, reading)
    (note,) = reading.notes
    assert note.startswith(f"3 of 6 files have several frames or pages, such as {paths[1]}.")


@pytest.mark.parametrize("root", [".", "{folder}"])
def test_pictures_of_runs_are_no_data(own_data, monkeypatch, root):
    monkeypatch.chdir(own_data)
    root = Path(root.format(folder=own_data))
    run = root / "runs" / "20260101" / "predictions"
    for name, part in {"a.png": run, "b.png": root / "runs_of_me"}.items():
        part.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(part / name)

    def splits(*paths):
        return SimpleNamespace(**{name: SimpleNamespace(paths=map(str, paths)) for name in SPLITS})

    check_outside_runs(splits(root / "runs_of_me" / "b.png"), root, Path("runs"))
    check_outside_runs(splits(run / "a.png"), run, Path("runs"))
    with pytest.raises(UsageError, match=r"a\.png would be read as an image of train, but runs is"):
        check_outside_runs(splits(run / "a.png"), root, Path("runs"))
    path = f"{root}/runs/20260101/predictions/a.png"  # with ./, as os.scandir returns it
    with pytest.raises(UsageError, match=r"would be read as an image of train"):
        check_outside_runs(splits(path), root, root / "runs")


def test_numbers_and_nouns_agree():
    nouns = ["images", "categories", "files or folders", "more reasons", "classes"]
    singular = ["1 image", "1 category", "1 file or folder", "1 more reason", "1 class"]
    assert [number_of(1, noun) for noun in nouns] == singular
    assert number_of(0, "categories") == "0 categories"


def test_classes_without_objects_are_noted():
    reading = account(train=[0, 0], val=[0], test=[0])
    check_learnable(reading)
    assert reading.notes == ["train has no objects of dog: they cannot be learned."]
    reading = account("images", train=[0, 1], val=[1], test=[0, 1])
    check_learnable(reading)
    assert reading.notes == ["val has no images of cat: their metrics are undefined."]


def test_the_account_is_logged_in_two_lines_and_written_in_full(tmp_path, caplog):
    caplog.set_level("INFO")
    reading = account(train=[0, 1, 1], val=[0])
    for number in range(2):
        reading.leave_out("objects", "without area", f"{number}.txt", split="train")
    reading.leave_out("objects", "without area", "2.txt", split="val")
    reading.note("There is no test.")
    (tmp_path / "environment.json").write_text('{"command": "train"}')
    report_reading(reading, Run(tmp_path))
    assert caplog.messages == [
        "Data: train 9 images with 3 objects, val 9 images with 1 object.",
        "Left out: 3 objects (without area; the first is 0.txt).",
        "There is no test.",
    ]
    written = json.loads((tmp_path / "environment.json").read_text())
    assert written["command"] == "train"
    assert written["data"] == {
        "images": {"train": 9, "val": 9},
        "objects_by_class": {"train": {"cat": 1, "dog": 2}, "val": {"cat": 1, "dog": 0}},
        "left_out": [
            {
                "kind": "objects", "reason": "without area", "split": split, "first": first,
                "count": count,
            }
            for split, first, count in [("train", "0.txt", 2), ("val", "2.txt", 1)]
        ],
        "notes": ["There is no test."],
    }  # fmt: skip


def test_train_reports_the_data_before_the_first_step(train, own_data, caplog):
    caplog.set_level("INFO")
    # ~ if cookiecutter.task == "detection"
    write_coco(own_data / "empty", lambda _, content: content["annotations"].clear())
    with pytest.raises(SystemExit, match=r"train\.json has 10 images and 0 annotations"):
        train(OWN, f"data.root={own_data / 'empty'}")
    # ~ endif
    run = train(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    assert [line[:10] for line in caplog.messages if line.startswith(("Data: ", "Left out: "))] == [
        "Data: trai", "Left out: ",
    ]  # fmt: skip
    assert json.loads((run / "environment.json").read_text())["data"]["images"]["val"] > 0
