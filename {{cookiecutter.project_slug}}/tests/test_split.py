import csv
import json
import random
import re
from collections import Counter
from itertools import chain

import pytest
import yaml

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.check_datasets import note_repeated
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.data.split import SPLITS, with_splits
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.data import OwnFolder
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import OWN, write_unsplit_data


def split(names, root, labels=None, reading=None, test=None, **changes):
    """The names of the images by split; ``test`` are those of a test split of the data."""
    settings = {"split": (0.8, 0.1, 0.1), "split_seed": 0, "split_by": None, "split_file": None}
    # ~ if cookiecutter.scope == "complete"
    settings["exclude"] = None
    # ~ endif
    folder = OwnFolder.model_construct(root=root, **settings | changes)
    images = {"train": [*zip(names, labels or [()] * len(names), strict=True)]}
    if test is not None:
        images["test"] = [(name, ()) for name in test]
    parts = with_splits(
        images,
        folder,
        reading or Reading(),
        path=lambda image: root / image[0],
        labels=lambda image: image[1],
    )
    return {part: [name for name, _ in parts[part]] for part in SPLITS}


def write_split_file(path, **files):
    rows = [f"{name},{part}\n" for part, names in files.items() for name in names]
    path.write_text("file,split\n" + "".join(rows))
    return path


def test_each_class_is_split_by_the_shares_and_the_seed(tmp_path):
    names = [f"{name}{index}.jpg" for name in "ab" for index in range(20 if name == "a" else 40)]
    labels = [{name[0]} for name in names]
    parts = split(names, tmp_path, labels)
    counts = {part: Counter(name[0] for name in parts[part]) for part in SPLITS}
    assert counts["train"] == {"a": 16, "b": 32}
    assert counts["val"] == counts["test"] == {"a": 2, "b": 4}
    assert sorted(chain(*parts.values())) == sorted(names)
    assert split(names, tmp_path, labels) == parts
    assert split(names, tmp_path, labels, split_seed=1) != parts


def test_the_order_is_that_of_earlier_versions(tmp_path):
    order = list(range(20))
    random.Random("3/cat").shuffle(order)
    names = [f"{index:02}.jpg" for index in range(20)]
    parts = split(names, tmp_path, [{"cat"}] * 20, split=(0.7, 0.15, 0.15), split_seed=3)
    assert parts["val"] == [names[index] for index in sorted(order[:3])]
    assert parts["test"] == [names[index] for index in sorted(order[3:6])]


def test_an_image_of_several_classes_counts_for_the_rarest_so_each_split_has_every_class(tmp_path):
    names = [f"{index:02}.jpg" for index in range(60)]
    labels = [{"common"} | ({"rare"} if index % 20 == 0 else set()) for index in range(60)]
    parts = split(names, tmp_path, labels)
    rare = {"00.jpg", "20.jpg", "40.jpg"}
    assert [len(rare & set(parts[part])) for part in SPLITS] == [1, 1, 1]


@pytest.mark.parametrize(("classes", "images"), [(50, 3), (100, 5)])
def test_many_small_classes_keep_the_shares(tmp_path, classes, images):
    names = [f"{label:03}-{index}.jpg" for label in range(classes) for index in range(images)]
    parts = split(names, tmp_path, [{name[:3]} for name in names])
    tenth = classes * images // 10
    assert [len(parts[part]) for part in SPLITS] == [8 * tenth, tenth, tenth]
    assert {name[:3] for name in parts["train"]} == {name[:3] for name in names}
    assert sorted(chain(*parts.values())) == names


def test_ten_small_classes_are_in_each_split(tmp_path):
    names = [f"{label}-{index}.jpg" for label in range(10) for index in range(3)]
    parts = split(names, tmp_path, [{name[0]} for name in names])
    assert [sorted(name[0] for name in parts[part]) for part in SPLITS] == [[*"0123456789"]] * 3


def test_a_test_split_of_the_data_stays_and_train_is_split_in_two(tmp_path):
    names = [f"{index}.jpg" for index in range(18)]
    reading = Reading()
    parts = split(names, tmp_path, reading=reading, test=["t.jpg"])
    (line,) = reading.notes
    assert line.endswith("has no images for val, so 18 images are split: 16 for train, 2 for val.")
    assert [len(parts[part]) for part in SPLITS] == [16, 2, 1]
    assert parts["test"] == ["t.jpg"]


def test_an_empty_test_split_is_none(tmp_path):
    names = [f"{index}.jpg" for index in range(10)]
    assert split(names, tmp_path, test=[]) == split(names, tmp_path)


def test_without_a_share_for_the_test_validation_is_tested(tmp_path):
    parts = split([f"{index}.jpg" for index in range(10)], tmp_path, split=(0.8, 0.2, 0.0))
    assert (len(parts["train"]), len(parts["val"])) == (8, 2)
    assert parts["test"] == parts["val"]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [(r"^film\d+", "film{}_{:03}.jpg"), (r"(\d+)-", "x{}-{}.jpg"), (r"p(\d)/", "p{}/{}.jpg")],
    ids=["whole match", "first group", "a folder"],
)
def test_images_of_a_group_stay_together(tmp_path, pattern, name):
    names = [name.format(group, frame) for group in range(8) for frame in range(5 + group)]
    parts = split(names, tmp_path, split_by=pattern, split=(0.6, 0.2, 0.2))
    groups = [{re.split("[_/-]", name)[0] for name in parts[part]} for part in SPLITS]
    assert sum(map(len, groups)) == 8
    assert all(10 <= len(parts[part]) <= 20 for part in ("val", "test"))  # 68 images, 0.2 are 14


def test_augmented_copies_of_an_image_stay_together(tmp_path):
    names = [f"{index}_jpg.rf.{copy}.jpg" for index in range(20) for copy in "abc"]
    parts = split(names, tmp_path / "pets.rf.zip")
    images = [{name.partition("_")[0] for name in part} for part in parts.values()]
    assert sum(map(len, images)) == len(set().union(*images)) == 20


def test_an_image_without_a_group_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"split_by=film\\d does not match b\.jpg"):
        split(["film1.jpg", "b.jpg"], tmp_path, split_by=r"film\d")
    with pytest.raises(UsageError, match=r"does not match 1\.jpg"):  # but an empty text
        split(["a.jpg", "1.jpg", "2.jpg"], tmp_path, split_by="^[a-z]*")


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UsageError, match="Too few images to split into 3 parts: 2"):
        split(["a.jpg", "b.jpg"], tmp_path)
    frames = [f"film_{index}.jpg" for index in range(30)]
    with pytest.raises(UsageError, match="30 in 1 group "):
        split(frames, tmp_path, split_by="film")


def test_a_class_of_too_few_images_is_trained_on(tmp_path):
    names = [f"{index}.jpg" for index in range(12)]
    parts = split(names, tmp_path, [{"a"}] * 10 + [{"rare"}] * 2)
    assert {"10.jpg", "11.jpg"} <= set(parts["train"])


def test_a_written_split_is_repeated_and_other_files_are_reported(tmp_path):
    file = write_split_file(
        tmp_path / "split.csv", train=["b.jpg", "c/d.jpg"], val=["a.jpg"], test=["gone.jpg"]
    )
    names, reading = ["a.jpg", "b.jpg", "c/d.jpg", "new.jpg"], Reading()
    parts = split(names, tmp_path, reading=reading, split_file=file)
    assert parts == {"train": ["b.jpg", "c/d.jpg"], "val": ["a.jpg"], "test": ["a.jpg"]}
    (left_out,) = reading.left_out
    assert (left_out.count, left_out.first, left_out.reason) == (1, "new.jpg", f"not in {file}")
    assert f"{file} names 1 image that the data do not have, such as gone.jpg." in reading.notes
    assert any(f"3 images are split as in {file}: 2 for train" in note for note in reading.notes)


def test_the_test_images_of_a_split_file_are_left_out_if_the_data_have_others(tmp_path):
    names, reading = ["a.jpg", "b.jpg", "c.jpg"], Reading()
    file = write_split_file(tmp_path / "split.csv", train=["a.jpg"], val=["b.jpg"], test=["c.jpg"])
    parts = split(names, tmp_path, reading=reading, test=["d.jpg"], split_file=file)
    assert parts == {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["d.jpg"]}
    (left_out,) = reading.left_out
    assert (left_out.kind, left_out.count) == ("images", 1)
    assert left_out.first == str(tmp_path / "c.jpg")


def test_a_split_file_with_another_split_is_named(tmp_path):
    file = write_split_file(tmp_path / "split.csv", train=["a.jpg"], holdout=["b.jpg"])
    with pytest.raises(UsageError, match="cannot be read: its split 'holdout' is not train, val"):
        split(["a.jpg", "b.jpg"], tmp_path, split_file=file)


@pytest.mark.parametrize("name", ["split_by", "split_file"])
def test_settings_for_unsplit_data_are_refused_for_data_with_splits(tmp_path, name):
    unset = {"split_by": None, "split_file": None}
    # ~ if cookiecutter.scope == "complete"
    unset["exclude"] = None
    # ~ endif
    folder = OwnFolder.model_construct(root=tmp_path, **unset | {name: "x"})
    with pytest.raises(UsageError, match=rf"has splits\.\n.*data\.{name}=null"):
        with_splits({"train": [], "val": []}, folder, Reading(), path=str, labels=set)


@pytest.mark.parametrize("content", ["", "file,split\nx.jpg,train\n", "file,split\na.jpg,dev\n"])
def test_a_split_of_other_data_is_refused(tmp_path, content):
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(UsageError, match=r"split\.csv .*\n.*data\.split_file=null"):
        split(["a.jpg"], tmp_path, split_file=tmp_path / "split.csv")


@pytest.mark.parametrize("shares", ["[0.8,0.2]", "[0.5,0.5,0.5]", "[1,0,0]", "[1.2,-0.1,-0.1]"])
def test_shares_that_do_not_sum_to_one_are_refused(command, tmp_path, shares):
    with pytest.raises(SystemExit, match=r"data\.split"):
        command("train", OWN, f"data.root={tmp_path}", f"data.split={shares}")


def files_by_split(run):
    with (run / "split.csv").open(newline="") as table:
        return {row["file"]: row["split"] for row in csv.DictReader(table)}


def files_tested(run):
    """The files of the test split, as the settings of a run determine them."""
    tree = yaml.safe_load((run / "config.yaml").read_text())
    settings = check({name: tree[name] for name in Settings.model_fields}, Settings)
    datasets = build_datasets(settings.data)
    return {path.removeprefix(f"{settings.data.root}/") for path in datasets.test.paths}


def test_the_split_of_a_run_is_repeated_wherever_data_and_run_lie(train, command, tmp_path):
    write_unsplit_data(tmp_path / "photos")
    run = train(OWN, f"data.root={tmp_path / 'photos'}", "data.split=[0.5,0.3,0.2]")
    written = files_by_split(run)
    assert Counter(written.values()) == {"train": 10, "val": 6, "test": 4}
    tested = {name for name, part in written.items() if part == "test"}

    (tmp_path / "photos").rename(tmp_path / "moved")
    write_unsplit_data(tmp_path / "moved", count=24)
    checkpoint = run.rename(tmp_path / "run") / "checkpoints" / "best.ckpt"
    words = (f"checkpoint={checkpoint}", f"data.root={tmp_path / 'moved'}", "tracking=none")
    evaluation = command("evaluate", *words)
    assert files_tested(evaluation) == tested
    account = json.loads((evaluation / "environment.json").read_text())["data"]
    assert [part["count"] for part in account["left_out"]] == [4]
    anew = files_tested(command("evaluate", *words, "data.split_seed=1"))
    assert anew != tested


def test_a_resumed_run_keeps_its_split(train, command, tmp_path):
    write_unsplit_data(tmp_path / "photos")
    pattern = "data.split_by=[0-9]+"  # a value that Hydra would take for a list
    run = train(OWN, f"data.root={tmp_path / 'photos'}", pattern, "trainer.max_epochs=1")
    written = files_by_split(run)
    write_unsplit_data(tmp_path / "photos", count=24)
    command("train", f"resume={run.name}", "trainer.max_epochs=2")
    assert files_by_split(run) == written
    assert files_tested(run) == {name for name, part in written.items() if part == "test"}


def test_a_run_that_is_continued_by_its_id_keeps_its_split(train, command, tmp_path, monkeypatch):
    write_unsplit_data(tmp_path / "photos")
    words = (OWN, f"data.root={tmp_path / 'photos'}", "trainer.max_epochs=1")
    run = train(*words)
    written = files_by_split(run)
    write_unsplit_data(tmp_path / "photos", count=24)
    (run / "metrics.json").unlink()  # as if a scheduler had stopped it before the test
    monkeypatch.setattr(hydra_launch, "new_run_id", lambda: run.name)
    assert train(*words) == run
    assert files_by_split(run) == written


def test_a_file_that_is_listed_twice_is_in_one_split(tmp_path):
    names = [f"{index % 30}.jpg" for index in range(60)]
    parts = split(names, tmp_path)
    assert sum(len({*part}) for part in parts.values()) == 30
    assert [len(parts[part]) for part in SPLITS] == [48, 6, 6]


def test_files_that_are_listed_twice_or_in_two_splits_are_noted(tmp_path):
    reading = Reading()
    split(
        ["0.jpg", "1.jpg", "1.jpg", *map(str, range(10))], tmp_path, reading=reading, test=["0.jpg"]
    )
    twice, leak = reading.notes[:2]
    assert twice.startswith(f"Files that are listed twice: 1, such as {tmp_path / '1.jpg'}")
    assert leak.startswith(f"train and test have 1 file in common, such as {tmp_path / '0.jpg'}")


def test_files_that_are_listed_in_several_forms_are_noted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reading = Reading()
    paths = {"train": ["a/0.jpg", "1.jpg", "b/../1.jpg"], "val": [str(tmp_path / "a" / "0.jpg")]}
    note_repeated(paths, reading)
    assert [note.partition(", such as ")[0] for note in reading.notes] == [
        "In train: Files that are listed twice: 1",
        "train and val have 1 file in common",
    ]
