import json
import shutil
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.data.coco import read_coco
from {{ cookiecutter.package_name }}.data.reading import Reading
from {{ cookiecutter.package_name }}.errors import UsageError

from coco_data import write_coco


def read(root, **options):
    """The class names and the images by split."""
    return read_coco(root, Reading(), **options)


def spoiled(root, change, split="train"):
    """A data set in which ``change`` was done to the content of a split."""
    write_coco(root, lambda name, content: change(content) if name == split else None)
    return root


def test_classes_go_by_id_which_need_not_be_contiguous(tmp_path):
    write_coco(tmp_path / "a")
    classes, splits = read(tmp_path / "a")
    assert classes == ["red", "green"]
    assert [len(images) for images in splits.values()] == [10, 10, 10]
    image = splits["val"][3]
    assert (image.width, image.height) == (48, 40)
    assert image.path == tmp_path / "a" / "val" / "3.jpg"
    assert [(one.id, one.label, one.crowd) for one in image.objects] == [(1003, 0, False)]


def test_the_layout_of_coco_itself_is_read(tmp_path):
    write_coco(tmp_path)
    for split in ("train", "val", "test"):
        (tmp_path / split).rename(tmp_path / f"{split}2017")
        file = tmp_path / "annotations" / f"{split}.json"
        file.rename(file.with_name(f"instances_{split}2017.json"))
    _, splits = read(tmp_path)
    assert splits["train"][0].path == tmp_path / "train2017" / "0.jpg"


def test_annotations_beside_the_images_are_read(tmp_path):
    write_coco(tmp_path)
    for split in ("train", "val", "test"):
        file = tmp_path / "annotations" / f"{split}.json"
        file.rename(tmp_path / split / "_annotations.coco.json")
    (tmp_path / "val").rename(tmp_path / "valid")
    _, splits = read(tmp_path)
    assert splits["val"][0].path == tmp_path / "valid" / "0.jpg"


def test_images_may_lie_below_a_folder_of_their_own(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "images").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / split).rename(tmp_path / "images" / split)
    _, splits = read(tmp_path)
    assert splits["test"][0].path.is_file()


@pytest.mark.parametrize("empty", [False, True])
def test_without_annotations_for_test_the_validation_images_are_tested(tmp_path, empty):
    reading = Reading()
    spoiled(tmp_path, lambda content: content["annotations"].clear(), "test")
    if not empty:
        (tmp_path / "annotations" / "test.json").unlink()
    _, splits = read_coco(tmp_path, reading)
    assert splits["test"] == splits["val"]
    assert reading.notes[-1].endswith("the validation images are tested.")
    assert len(reading.notes) == 1 + empty


def test_images_without_objects_stay(tmp_path):
    _, splits = read(spoiled(tmp_path, lambda content: content["annotations"].pop()))
    assert splits["train"][-1].objects == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("images"), "has no list of images"),
        (lambda content: content["categories"].clear(), "must have categories"),
        (lambda content: content["categories"][1].update(name="red"), "different names"),
        (lambda content: content["images"][4].update(id=103), "two of its images have the id 103"),
        (
            lambda content: content["annotations"][4].update(id=1003),
            "two of its annotations have the id 1003",
        ),
        (
            lambda content: content["annotations"][4].update(image_id=5),
            "annotation 1004 belongs to image 5, which",
        ),
        (
            lambda content: content["annotations"][4].update(category_id=1),
            "annotation 1004 belongs to category 1, which",
        ),
        (
            lambda content: content["annotations"][4].pop("category_id"),
            "annotation 1004 has no category_id",
        ),
        (lambda content: content["annotations"][4].pop("id"), "number 4 of its annotations"),
        (lambda content: content["images"][4].pop("file_name"), "image 104 has no file_name"),
        (
            lambda content: content["images"][4].update(file_name="gone.jpg"),
            r"image 104 is missing: .*gone\.jpg \(1 of 10 images\)",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, said):
    with pytest.raises(UsageError, match=rf"train\.json.*{said}"):
        read(spoiled(tmp_path, change))


def test_missing_images_can_be_left_to_the_loader(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "val" / "3.jpg").unlink()
    _, splits = read(tmp_path, missing_images=True)
    assert len(splits["val"]) == 10


def test_splits_of_different_categories_are_refused(tmp_path):
    change = spoiled(tmp_path, lambda content: content["categories"][1].update(id=91), "val")
    with pytest.raises(UsageError, match=r"val\.json.*different categories:\n  7 red, 91 green"):
        read(change)


def test_a_file_that_is_no_json_is_named(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "val.json").write_text("{")
    with pytest.raises(UsageError, match=r"val\.json is not valid JSON"):
        read(tmp_path)


def test_a_folder_without_annotations_shows_the_layouts(tmp_path):
    with pytest.raises(UsageError, match="no annotations for train") as caught:
        read(tmp_path)
    assert "_annotations.coco.json" in str(caught.value)


def test_several_files_for_a_split_are_refused(tmp_path):
    write_coco(tmp_path)
    copy = tmp_path / "annotations" / "instances_train2014.json"
    copy.write_text(json.dumps({}))
    with pytest.raises(UsageError, match="several annotation files for train"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../../outside.jpg", "../../../outside.jpg", "{outside}"])
def test_an_image_outside_the_data_set_is_refused_unless_it_is_allowed(tmp_path, name):
    outside = tmp_path / "outside.jpg"

    def change(content):
        content["images"][5]["file_name"] = name.format(outside=outside)

    root = spoiled(tmp_path / "data" / "set", change)
    shutil.copy(root / "train" / "1.jpg", outside)
    shutil.copy(outside, tmp_path / "data")
    with pytest.raises(UsageError, match=r"train\.json names .*outside\.jpg, which is outside"):
        read(root)
    _, splits = read(root, outside=True)
    assert splits["train"][5].path.is_file()


def test_links_and_absolute_names_in_the_data_set_are_read(tmp_path, monkeypatch):
    def change(content):
        content["images"][5]["file_name"] = str(tmp_path / "set" / "train" / "5.jpg")
        content["images"][6]["file_name"] = "../val/6.jpg"
        content["images"][7]["file_name"] = "linked.jpg"

    root = spoiled(tmp_path / "set", change)
    (root / "train" / "7.jpg").rename(tmp_path / "elsewhere.jpg")
    (root / "train" / "linked.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root)
    for place in (root, tmp_path / "link", Path()):
        assert len(read(place)[1]["train"]) == 10
