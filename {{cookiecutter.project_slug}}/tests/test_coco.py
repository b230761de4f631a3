import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from {{ cookiecutter.package_name }}.data.coco import read_coco
from {{ cookiecutter.package_name }}.data.image_paths import find_images
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.schema import DataSettings

from coco_data import place as place_of
from coco_data import write_coco, write_unsplit
from small import data_preset


def read(root, reading=None, **changes):
    """The class names and the images by split."""
    settings = data_preset("coco") | {"root": root} | changes
    checked = TypeAdapter(DataSettings).validate_python(settings)
    return read_coco(root, checked, reading or Reading())


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


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/{}.json", "images/{}"),
        ("{}.json", "{}"),
        ("{}/_annotations.coco.json", "{}"),
        ("{}_annotations.json", "images/{}"),
        ("annotations/annotations_{}.json", "{}"),
    ],
    ids=["COCO", "below images", "in the root", "Roboflow", "a word after", "a word before"],
)
def test_the_usual_layouts_are_read(tmp_path, file, images):
    write_coco(tmp_path)
    (tmp_path / "images").mkdir()
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        (tmp_path / split).rename(tmp_path / images.format(name))
        (tmp_path / "annotations" / f"{split}.json").rename(tmp_path / file.format(name))
    _, splits = read(tmp_path)
    folders = [images_of[0].path.parent for images_of in splits.values()]
    assert folders == [tmp_path / images.format(name) for name in ("train", "valid", "test")]


def test_reading_annotations_does_not_call_stat_for_each_image(tmp_path, monkeypatch):
    write_coco(tmp_path)
    calls, stat = [], os.stat

    def counted_stat(path, **options):
        calls.append(Path(path).name)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", counted_stat)
    _, splits = read(tmp_path)
    assert sum(map(len, splits.values())) == 30
    assert {name for name in calls if name.endswith(".jpg")} <= {"0.jpg"}  # by which they are found


@pytest.mark.parametrize("state", ["no file", "no annotations", "no list of annotations"])
def test_without_annotations_for_test_there_is_no_test_split(tmp_path, state):
    def change(content):
        content["annotations"].clear()
        if state == "no list of annotations":  # as in the test of COCO itself
            del content["annotations"]

    reading = Reading()
    spoiled(tmp_path, change, "test")
    if state == "no file":
        (tmp_path / "annotations" / "test.json").unlink()
    _, splits = read(tmp_path, reading)
    assert splits.keys() == {"train", "val"}
    assert len(reading.notes) == (state != "no file")


def test_the_entry_ignore_which_coco_does_not_read_is_noted(tmp_path):
    def change(content):
        for item, value in zip(content["annotations"], (1, "1", True, 0, "0", None), strict=False):
            item["ignore"] = value

    reading = Reading()
    read(spoiled(tmp_path, change), reading)
    assert len(reading.notes) == 1
    assert "train.json: annotations with the entry ignore: 3. They are used" in reading.notes[0]


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_annotations_is_refused(tmp_path, split):
    with pytest.raises(UsageError, match=rf"{split}\.json has 10 images and 0 annotations"):
        read(spoiled(tmp_path, lambda content: content["annotations"].clear(), split))


CROWD = [{"iscrowd": "1", "segmentation": {"counts": [0, 1920], "size": [40, 48]}}]


@pytest.mark.parametrize(
    ("changes", "crowds"),
    [
        ([{"iscrowd": "0"}], 0),
        ([{"iscrowd": "0.0"}], 0),
        ([{"iscrowd": None}], 0),
        (CROWD, 0),
        ([{"iscrowd": 1, "segmentation": None}], 10),
        ([*CROWD, {}], 5),
    ],
    ids=["text", "text of a float", "null", "painted only", "crowds without areas", "some crowds"],
)
def test_crowds_are_objects_if_there_are_only_crowds_with_masks(tmp_path, changes, crowds):
    def change(content):
        for index, entry in enumerate(content["annotations"]):
            entry.update(changes[index % len(changes)])

    reading = Reading()
    _, splits = read(spoiled(tmp_path, change), reading)
    assert sum(item.crowd for image in splits["train"] for item in image.objects) == crowds
    assert sum(part.count for part in reading.left_out) == crowds
    assert any("all annotations are crowds (iscrowd), 10" in note for note in reading.notes) == (
        len(changes) == 1 and changes[0]["iscrowd"] in {1, "1"}
    )


@pytest.mark.parametrize("value", ["maybe", float("inf")])
def test_a_crowd_that_is_no_number_is_refused(tmp_path, value):
    with pytest.raises(UsageError, match=rf"annotations\[4\]\.iscrowd: .*, found {value!r}"):
        read(spoiled(tmp_path, lambda content: content["annotations"][4].update(iscrowd=value)))


@pytest.mark.parametrize(
    "size",
    [{"width": 0, "height": 0}, {"width": None}, {"height": "?"}, {"height": float("inf")}],
)
def test_a_size_that_is_missing_comes_from_the_file(tmp_path, size):
    _, splits = read(spoiled(tmp_path, lambda content: content["images"][4].update(size)))
    assert (splits["train"][4].width, splits["train"][4].height) == (48, 40)


@pytest.mark.parametrize(
    "prefix", ["images\\", "..\\train\\", "C:\\Users\\me\\set\\", "/home/me/train/", "./"]
)
def test_names_of_another_computer_are_read_as_paths(tmp_path, prefix):
    def change(content):
        for entry in content["images"]:
            entry["file_name"] = prefix + entry["file_name"]

    _, splits = read(spoiled(tmp_path, change))
    names = [image.path.resolve() for image in splits["train"]]
    assert names == [tmp_path / "train" / f"{index}.jpg" for index in range(10)]


def test_a_name_in_two_folders_that_do_not_exist_is_missing(tmp_path):
    def change(content):
        for index, entry in enumerate(content["images"]):
            entry["file_name"] = f"{index % 2}/0.jpg"

    with pytest.raises(UsageError, match=r"names .*/0/0\.jpg, which is missing"):
        read(spoiled(tmp_path, change))


@pytest.mark.parametrize(
    ("parent", "of_children", "classes"),
    [
        ({"id": 0, "name": "colour"}, "colour", ["red", "green"]),
        ({"id": 0, "name": "red"}, "red", ["red", "green"]),  # the same name as its child
        ({"id": 0, "name": "blue"}, "none", ["blue", "red", "green"]),
        ({"id": 0, "name": "_Background_"}, "none", ["red", "green"]),
    ],
)
def test_an_unused_parent_or_background_is_no_class(tmp_path, parent, of_children, classes):
    def change(_, content):
        for entry in content["categories"]:
            entry["supercategory"] = of_children
        content["categories"].insert(0, parent)

    write_coco(tmp_path, change)
    reading = Reading()
    names, splits = read(tmp_path, reading)
    assert names == classes
    assert names[splits["val"][0].objects[0].label] == "red"
    assert ["categories"] * (3 - len(classes)) == [part.kind for part in reading.left_out]


def test_a_parent_of_categories_with_annotations_is_a_class(tmp_path):
    def change(_, content):
        content["categories"][1]["supercategory"] = "red"

    write_coco(tmp_path, change)
    assert read(tmp_path)[0] == ["red", "green"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_annotations_are_read_by_the_mark_of_their_encoding(tmp_path, encoding):
    root = spoiled(tmp_path, lambda content: content["categories"][1].update(name="gr\u00fcn"))
    for split in ("val", "test"):
        shutil.copy(root / "annotations" / "train.json", root / "annotations" / f"{split}.json")
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    if encoding == "latin-1":
        with pytest.raises(
            UsageError, match=r"train\.json is not UTF-8 text.*\n.*save it as UTF-8"
        ):
            read(root)
    else:
        assert read(root)[0] == ["red", "gr\u00fcn"]


def test_images_without_objects_stay(tmp_path):
    _, splits = read(spoiled(tmp_path, lambda content: content["annotations"].pop()))
    assert splits["train"][-1].objects == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("images"), "images: Field required"),
        (lambda content: content["images"].clear(), "has 0 images and 10 annotations, so there"),
        (lambda content: content["categories"].clear(), "must have categories.*\nList each class"),
        (lambda content: content["categories"][1].update(name="red"), "unique names"),
        (lambda content: content["images"][4].update(id=103), "2 of its images have the id 103"),
        (
            lambda content: content["annotations"][4].update(id=1003),
            "2 of its annotations have the id 1003",
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
            r"annotations\[4\]\.category_id: Field required, found .*'id': 1004",
        ),
        (lambda content: content["annotations"][4].pop("id"), r"annotations\[4\]\.id: Field requ"),
        (lambda content: content["images"][4].update(id=1.5), r"images\[4\]\.id: .*, found 1\.5"),
        (lambda content: content["categories"][1].update(name=" red "), "unique names"),
        (lambda content: content["categories"][1].update(name=" "), r"categories\[1\]\.name: "),
        (lambda content: content["images"][4].pop("file_name"), r"images\[4\]\.file_name: Field"),
        (
            lambda content: content["images"][4].update(file_name="gone.jpg"),
            r"names .*/gone\.jpg, which is missing \(1 of 10 images\)",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, said):
    with pytest.raises(UsageError, match=rf"train\.json.*{said}"):
        read(spoiled(tmp_path, change))


@pytest.mark.parametrize("kind", [str, float, "{}.0".format])
def test_ids_may_be_texts_or_floats(tmp_path, kind):
    def change(content):
        for entry in content["annotations"]:
            entry["image_id"] = kind(entry["image_id"])
        content["annotations"][3]["category_id"] = kind(90)
        content["images"][3]["id"] = kind(103)

    classes, splits = read(spoiled(tmp_path, change))
    assert [image.path.stem for image in splits["train"]] == [*"0123456789"]
    labels = [item.label for image in splits["train"] for item in image.objects]
    assert labels == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert classes == ["red", "green"]


def test_texts_of_digits_and_underscores_are_no_numbers(tmp_path):
    def change(content):
        for index, key in enumerate(("1_23", "12_3")):
            content["images"][index]["id"] = content["annotations"][index]["image_id"] = key

    images = read(spoiled(tmp_path, change))[1]["train"]
    assert [len(image.objects) for image in images] == [1] * 10


def test_ids_may_be_texts_without_numbers(tmp_path):
    def change(content):
        for entry in content["images"] + content["annotations"] + content["categories"]:
            for key in ("id", "image_id", "category_id"):
                if key in entry and entry[key] not in {90, 104}:  # a number among texts
                    entry[key] = f"x{entry[key]}"

    write_coco(tmp_path, lambda _, content: change(content))
    classes, splits = read(tmp_path)
    assert classes == ["green", "red"]  # numbers are before texts
    expected = [4, 0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [image.path.stem for image in splits["val"]] == [*map(str, expected)]
    objects = [image.objects[0][:2] for image in splits["val"]]
    assert objects == [(f"x{1000 + index}", 1) for index in expected]


@pytest.mark.parametrize("place", ["{}", "images/{}"])
def test_a_folder_may_have_another_word_for_its_split_than_the_file(tmp_path, place):
    write_coco(tmp_path)
    (tmp_path / "images").mkdir()
    for split, name in (("train", "training"), ("val", "Valid"), ("test", "test")):
        (tmp_path / split).rename(tmp_path / place.format(name))
        file = tmp_path / "annotations" / f"{split}.json"
        file.rename(file.with_name(f"instances_{split}.json"))
    _, splits = read(tmp_path)
    assert splits["val"][3].path == tmp_path / place.format("Valid") / "3.jpg"
    assert splits["train"][3].path == tmp_path / place.format("training") / "3.jpg"


@pytest.mark.parametrize("previews", [".", "images"])
def test_the_images_of_a_split_are_those_in_its_folder(tmp_path, previews):
    write_coco(tmp_path)
    for split, name in (("train", "training"), ("val", "valid")):
        shutil.copytree(tmp_path / split, tmp_path / previews, dirs_exist_ok=True)
        (tmp_path / split).rename(tmp_path / name)
        file = tmp_path / "annotations" / f"{split}.json"
        file.rename(tmp_path / file.name)
    _, splits = read(tmp_path)
    folders = [splits[split][3].path.parent for split in ("train", "val")]
    assert folders == [tmp_path / "training", tmp_path / "valid"]


def test_a_file_for_all_images_reads_those_beside_it_though_a_split_has_copies(tmp_path):
    write_unsplit(tmp_path)
    (tmp_path / "train").mkdir()
    shutil.copy(tmp_path / "images" / "0.jpg", tmp_path / "train")
    assert read(tmp_path)[1]["train"][3].path == tmp_path / "images" / "3.jpg"


@pytest.mark.parametrize(("missing", "count"), [("val", 1), ("test", 1), (None, 0)])
def test_files_that_are_named_after_no_split_are_counted_if_a_split_has_none(
    tmp_path, missing, count
):
    write_coco(tmp_path)
    other = tmp_path / "annotations" / "instances_minival2017.json"
    shutil.copy(tmp_path / "annotations" / "val.json", other)
    if missing:
        (tmp_path / "annotations" / f"{missing}.json").unlink()
    reading = Reading()
    read(tmp_path, reading)
    parts = [(part.kind, part.reason, part.first) for part in reading.left_out]
    assert parts == [("JSON files", "not named after a split", str(other))] * count


@pytest.mark.parametrize("moved", [15, 0])
def test_rectangles_that_contradict_their_outlines_are_noted(tmp_path, moved):
    def change(content):
        for index, entry in enumerate(content["annotations"]):
            left, top, right, bottom = place_of(index)
            entry["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
            entry["bbox"] = [left + index % 2 * moved, top, right - left, bottom - top]
        content["annotations"][0]["segmentation"] = {"counts": "?", "size": [40, 48]}

    reading = Reading()
    read(spoiled(tmp_path, change), reading)
    found = "rectangles that are not around the outline of their object: 5 of 9 that were"
    assert [found in note for note in reading.notes] == [True] * bool(moved)


# Columns 4 to 23 and rows 6 to 21 of an image of 40 rows, and the same compressed.
RUNS = [166, *[16, 24] * 19, 16, 978]
COMPRESSED = f"V5`0h0{'0' * 37}jm0"


@pytest.mark.parametrize("counts", [RUNS, COMPRESSED], ids=["plain", "compressed"])
@pytest.mark.parametrize("moved", [30, 0])
def test_rectangles_that_contradict_run_lengths_are_noted(tmp_path, counts, moved):
    def change(content):
        content["annotations"][0]["segmentation"] = {"counts": counts, "size": [40, 48]}
        content["annotations"][0]["bbox"] = [4, 6 + moved, 20, 16]

    reading = Reading()
    read(spoiled(tmp_path, change), reading)
    assert ["instead of [4, 6, 20, 16]" in note for note in reading.notes] == [True] * bool(moved)


def test_missing_images_can_be_left_out_and_are_counted(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "val" / "3.jpg").unlink()
    reading = Reading()
    _, splits = read(tmp_path, reading, skip_unreadable=True)
    assert [image.path.stem for image in splits["val"]] == [*"012456789"]
    parts = [(part.kind, part.split, part.count) for part in reading.left_out]
    assert parts == [("images", "val", 1), ("objects", "val", 1)]
    assert reading.left_out[0].first == str(tmp_path / "val" / "3.jpg")


def test_a_damaged_image_without_a_size_can_be_left_out(tmp_path):
    root = spoiled(tmp_path, lambda content: content["images"][3].pop("width"))
    (root / "train" / "3.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"3\.jpg cannot be read"):
        read(root)
    reading = Reading()
    image = read(root, reading, skip_unreadable=True)[1]["train"][3]
    assert (image.width, image.height, image.objects) == (0, 0, [])
    assert [(part.kind, part.count) for part in reading.left_out] == [("objects", 1)]


@pytest.mark.parametrize("folder", ["images", "data"], ids=["images", "FiftyOne"])
def test_names_without_the_zeros_of_the_files_are_read_and_noted(tmp_path, folder):
    write_unsplit(tmp_path)
    for path in [*(tmp_path / "images").iterdir()]:
        path.rename(path.with_name(f"{path.stem:0>6}.jpg"))
    (tmp_path / "images").rename(tmp_path / folder)
    reading = Reading()
    first = read(tmp_path, reading)[1]["train"][0].path
    assert first == tmp_path / folder / "000000.jpg"
    (note,) = reading.notes
    named = first.with_name("0.jpg")
    assert f"spreadsheets drop: 20, such as {named}, which is read as {first}." in note
    for count in (5, 7):
        shutil.copy(first, first.with_name("0" * count + ".jpg"))
    with pytest.raises(UsageError, match=r"0\.jpg, which is missing \(1 of 20"):
        read(tmp_path)


def test_a_forbidden_path_of_another_computer_is_found_by_its_last_parts(tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.jpg").touch()
    stat = Path.stat

    def forbid(path, **options):
        if str(path).startswith("/forbidden/data/"):
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", forbid)
    found = find_images(["/forbidden/data/train/1.jpg"], [tmp_path])
    assert found == ([tmp_path / "train" / "1.jpg"], 3)


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_match_in_any_unicode_form(tmp_path, written, stored):
    def change(content):
        content["images"][3]["file_name"] = unicodedata.normalize(written, "h\u00fcndin.jpg")

    root = spoiled(tmp_path, change)
    name = unicodedata.normalize(stored, "h\u00fcndin.jpg")
    file = (root / "train" / "3.jpg").rename(root / "train" / name)
    assert read(root)[1]["train"][3].path == file


def test_names_match_in_any_case_unless_two_files_match(tmp_path):
    def change(content):
        for entry in content["images"]:
            entry["file_name"] = entry["file_name"].upper()

    root = spoiled(tmp_path, change)
    assert [image.path.name for image in read(root)[1]["train"][2:4]] == ["2.jpg", "3.jpg"]
    shutil.copy(root / "train" / "3.jpg", root / "train" / "3.jPg")
    with pytest.raises(UsageError, match=r"names .*/3\.JPG, which is missing \(1 of 10"):
        read(root)
    shutil.copy(root / "train" / "3.jpg", root / "train" / "3.JPG")
    assert read(root)[1]["train"][3].path.name == "3.JPG"


def test_names_in_the_form_of_urls_are_read(tmp_path):
    def change(content):
        for index in (3, 4):
            content["images"][index]["file_name"] = f"my%20cats/h%C3%BCndin%20{index}.jpg"
        content["images"][5]["file_name"] = "100%25.jpg"  # this is its name

    root = spoiled(tmp_path / "data", lambda content: None)
    (root / "train" / "my cats").mkdir()
    for index in (3, 4):
        file = root / "train" / "my cats" / f"h\u00fcndin {index}.jpg"
        (root / "train" / f"{index}.jpg").rename(file)
    (root / "train" / "5.jpg").rename(root / "train" / "100%25.jpg")
    content = json.loads((root / "annotations" / "train.json").read_text())
    change(content)
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    names = [image.path.name for image in read(root)[1]["train"][3:6]]
    assert names == ["h\u00fcndin 3.jpg", "h\u00fcndin 4.jpg", "100%25.jpg"]


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_folders_match_in_any_unicode_form(tmp_path, written, stored):
    def change(content):
        for entry in content["images"]:
            folder = unicodedata.normalize(written, "h\u00fcndin")
            entry["file_name"] = f"{folder}/{entry['file_name']}"

    root = spoiled(tmp_path / "data", lambda content: None)
    content = json.loads((root / "annotations" / "train.json").read_text())
    change(content)
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    folder = tmp_path / "moved"
    (root / "train").rename(folder)
    (root / "train").mkdir()
    folder.rename(root / "train" / unicodedata.normalize(stored, "h\u00fcndin"))
    assert all(image.path.is_file() for image in read(root)[1]["train"])


def test_splits_of_different_categories_are_refused(tmp_path):
    change = spoiled(tmp_path, lambda content: content["categories"][1].update(id=91), "val")
    expected = r"val\.json.*different categories:\n  7 red, 91 green\n.*\nWrite all"
    with pytest.raises(UsageError, match=expected):
        read(change)


def test_a_split_may_list_fewer_categories(tmp_path):
    def change(content):
        red = content["categories"][0]["id"]
        content["categories"] = content["categories"][:1]
        content["annotations"] = [
            entry for entry in content["annotations"] if entry["category_id"] == red
        ]

    names, splits = read(spoiled(tmp_path, change, "val"))
    assert names == ["red", "green"]
    assert {item.label for image in splits["val"] for item in image.objects} == {0}


@pytest.mark.parametrize("text", ["{", "[" * 100_000], ids=["incomplete", "deep"])
def test_a_file_that_is_no_json_is_named(tmp_path, text):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "val.json").write_text(text)
    with pytest.raises(UsageError, match=r"val\.json is not valid JSON"):
        read(tmp_path)


def test_a_folder_without_annotations_shows_the_layouts(tmp_path):
    with pytest.raises(UsageError, match="no annotations for train") as caught:
        read(tmp_path)
    assert "_annotations.coco.json" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("result.json", ""),
        ("anything.json", "anything.json"),
        ("annotations/instances_default.json", ""),
        ("annotations/instances_default.json", "annotations/instances_default.json"),
        ("train/_annotations.coco.json", ""),
    ],
)
def test_a_single_file_for_all_images_is_read(tmp_path, file, named):
    write_unsplit(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / "result.json").rename(tmp_path / file)
    if file.startswith("train"):
        (tmp_path / "images").rename(tmp_path / "train" / "images")
    classes, splits = read(tmp_path / named)
    assert classes == ["red", "green"]
    assert list(splits) == ["train"]
    assert [image.path.name for image in splits["train"]] == [f"{i}.jpg" for i in range(20)]
    assert splits["train"][19].path.is_file()
    assert splits["train"][3].objects[0].id == 1003


@pytest.mark.parametrize(
    "name", ["/label-studio/data/upload/1/{}", "C:\\data\\images\\{}", "..\\..\\media\\upload\\{}"]
)
def test_names_of_label_studio_are_found_in_images(tmp_path, name):
    write_unsplit(tmp_path)
    content = json.loads((tmp_path / "result.json").read_text())
    for entry in content["images"]:
        entry["file_name"] = name.format(entry["file_name"])
    (tmp_path / "result.json").write_text(json.dumps(content))
    _, splits = read(tmp_path)
    assert splits["train"][7].path == tmp_path / "images" / "7.jpg"


def test_several_single_files_are_refused_with_how_to_choose(tmp_path):
    write_unsplit(tmp_path)
    shutil.copy(tmp_path / "result.json", tmp_path / "old.json")
    with pytest.raises(UsageError, match=r"2 JSON files.*\n.*old\.json\n.*\n.*data\.root=<file>"):
        read(tmp_path)


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
    _, splits = read(root, outside_root=True)
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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        # ~ if cookiecutter.task == "detection"
        ("bbox", [0.1, 0.2, 0.25, 0.4]),
        ("bbox", [0.8, 0.8, 0.4, 0.4]),  # around a centre
        # ~ else
        ("segmentation", [[0.1, 0.2, 0.4, 0.2, 0.4, 1]]),
        # ~ endif
    ],
)
def test_coordinates_that_look_like_shares_are_refused(tmp_path, field, value):
    def change(split, content):
        for annotation in content["annotations"]:
            annotation[field] = value

    write_coco(tmp_path, change)
    with pytest.raises(UsageError, match="from 0 to 1, so relative to width and height"):
        read(tmp_path)


@pytest.mark.parametrize("relative", [10, 1])
def test_coordinates_of_two_kinds_are_refused_or_noted_if_they_are_few(tmp_path, relative):
    write_unsplit(tmp_path)
    content = json.loads((tmp_path / "result.json").read_text())
    # ~ if cookiecutter.task == "detection"
    for annotation in content["annotations"][:relative]:
        annotation["bbox"] = [0.1, 0.2, 0.25, 0.4]
    content["annotations"][19]["bbox"] = [0, 0, 0, 0]  # has no area, and is of neither kind
    # ~ else
    for annotation in content["annotations"][:relative]:
        annotation["segmentation"] = [[0.1, 0.2, 0.4, 0.2, 0.4, 1]]
    content["annotations"][19]["segmentation"] = [[0, 0, 0, 0, 0, 0]]  # is of neither kind
    # ~ endif
    (tmp_path / "result.json").write_text(json.dumps(content))
    found = (
        f"{tmp_path}/result.json: all coordinates are from 0 to 1 in {relative} of 20 objects, "
        f"such as in {tmp_path}/images/0.jpg, but not in {tmp_path}/images/{relative}.jpg"
    )
    reading = Reading()
    if relative == 1:
        read(tmp_path, reading)
        assert reading.notes == [f"{found}. They are read as pixels: correct them if they are not."]
    else:
        with pytest.raises(UsageError, match=f"{found}, so relative to width and height"):
            read(tmp_path)


def test_images_of_the_same_names_beside_the_annotations_are_not_read(tmp_path):
    write_coco(tmp_path)
    for index in range(10):
        shutil.copy(tmp_path / "val" / f"{index}.jpg", tmp_path / "annotations")
    paths = [image.path for image in read(tmp_path)[1]["train"]]
    assert paths == [tmp_path / "train" / f"{index}.jpg" for index in range(10)]
