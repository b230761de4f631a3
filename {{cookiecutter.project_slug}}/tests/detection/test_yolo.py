import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.detection import BoxFolderSettings

from small import data_preset

YAML = "train: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


@pytest.fixture
def root(tmp_path):
    """Two images in each split; the first shows a dog and a cat, the second has no objects."""
    for split in ("train", "val"):
        for index in range(2):
            path = tmp_path / "images" / split / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 20)).save(path)
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "0.txt").write_text(
            "1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.3 0.1 0.3 0.4\n"
        )
    (tmp_path / "data.yaml").write_text(YAML)
    return tmp_path


def datasets(root, **changes):
    settings = data_preset("yolo") | changes
    settings |= {"root": root, "image_size": 32, "fit": "stretch"}
    settings["augment"] = settings["augment"] | {"crop_scale": 1, "flip": 0, "color": 0}
    return build_datasets(BoxFolderSettings.model_validate(settings))


def test_boxes_and_polygons_become_corners(root):
    data = datasets(root)
    assert data.classes == ["cat", "dog"]
    target = data.val.target(0, (20, 40))
    expected = torch.tensor([[0.4, 0.3, 0.6, 0.7], [0.1, 0.1, 0.3, 0.4]])
    torch.testing.assert_close(target.boxes, expected)
    assert target.labels.tolist() == [1, 0]
    assert target.areas.tolist() == pytest.approx([8 * 8, 8 * 6])


def test_a_relative_root_has_the_same_labels(root, monkeypatch):
    monkeypatch.chdir(root)
    assert datasets(Path()).val.target(0, (20, 40)).labels.tolist() == [1, 0]


def test_a_list_of_missing_images_alone_is_refused(root):
    (root / "train.txt").write_text("images/train/lost.jpg\n")
    (root / "data.yaml").write_text(YAML.replace("images/train", "train.txt"))
    with pytest.raises(UsageError, match=r"data\.yaml: there is no image for train"):
        datasets(root, skip_unreadable=True)


def test_what_the_label_files_lack_is_noted(root):
    train, labels = root / "images" / "train", root / "labels" / "train" / "0.txt"
    Image.new("RGB", (40, 20)).save(train / "0.png")
    notes = datasets(root).reading.notes
    assert (
        "In train: Images without a label file, which count as background: 1 of 3, the first is "
        f"{train / '1.jpg'}."
    ) in notes
    shared = f"{train / '0.jpg'}, {train / '0.png'} share the annotation file {labels}."
    assert any(note.startswith(shared) for note in notes)


def test_notes_on_images_without_splits_do_not_name_the_split_for_which_they_were_read(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(20):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / f"{index}.png")
        box = "0.5 0.5 1.2 0.4" if index == 1 else "0.5 0.5 0.2 0.4"
        lines = f"0 {box}\n0 0.5 0.5 0 0.4\n"  # the second box has no area
        if index:
            (tmp_path / "labels" / f"{index}.txt").write_text(lines)
    reading = datasets(tmp_path).reading
    assert reading.images["train"] == 16
    without, cut = reading.notes[:2]
    assert without.startswith("Images without a label file, which count as background: 1 of 20, ")
    assert cut.startswith("Boxes that extend beyond their image and were cut off: 1 of 19, ")
    objects = [part for part in reading.left_out if part.kind == "objects"]
    assert [(part.split, part.count) for part in objects] == [("", 19)]


POSE = "0.5 0.5 0.3 0.3 0.4 0.4"  # a box and a key point


@pytest.mark.parametrize(
    ("polygons", "numbers"),
    [
        (["0.1 0.1 0.3 0.1 0.3 0.4"], 7),
        (["0.5 0.5 0.4 0.4 0.4 0.4 0.6 0.6"], 9),  # two key points
        (["0.5 0.5 0.2 0.4 0.45 0.35 0.55 0.35 0 0 0.45 0.6"] * 2, 13),
        ([f"{POSE} 0.66 0.6"] + [f"{POSE} 0.6 0.6"] * 9, 9),  # a point outside of its box
        (["0.8 0.5 0.4002 0.4 0.8 0.4 0.9 0.6"], 9),  # a box that rounding moved beyond the image
        ([f"{POSE} 0.6 0.6", f"{POSE} 0.6 0.6 0.5 0.5"], "9 or 11"),
        ([f"{POSE} 0.66 0.6"] * 2 + [f"{POSE} 0.6 0.6"] * 9, None),
        (["0.1 0.1 0.3 0.1 0.3 0.4 0.2 0.5 0.1 0.4"], None),  # a polygon of five corners
        (["0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4"], None),  # a box that is turned
        (["0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4", "0.1 0.1 0.3 0.1 0.3 0.4"], None),
    ],
)
def test_polygons_that_may_be_boxes_with_further_numbers_are_noted(root, polygons, numbers):
    lines = [f"0 {line}\n" for line in polygons]
    (root / "labels" / "train" / "0.txt").write_text("".join(lines))
    notes = [note for note in datasets(root).reading.notes if note.startswith("In train: Lines")]
    count = len(polygons)
    expected = f"In train: Lines with {numbers} numbers: {count}. They are read as "
    assert [note.startswith(expected) for note in notes] == [True] * bool(numbers)


def test_boxes_that_look_like_corners_are_noted(root):
    corners = [f"0 0.4{digit} 0.4 0.6{digit} 0.7\n" for digit in range(10)]
    for split in ("train", "val"):
        (root / "labels" / split / "0.txt").write_text("".join(corners))
    (root / "labels" / "val" / "1.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    notes = [note for note in datasets(root).reading.notes if "may be two corners" in note]
    assert [note.partition(" may ")[0] for note in notes] == ["In train: Each box"]


def test_a_cut_box_is_noted(root):
    (root / "labels" / "train" / "1.txt").write_text("1 0.95 0.5 0.2 0.4\n")
    notes = datasets(root).reading.notes
    cut = "In train: Boxes that extend beyond their image and were cut off: 1 of 3"
    assert any(note.startswith(cut) for note in notes)


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_match_in_any_unicode_form(root, written, stored):
    names = [unicodedata.normalize(form, "h\u00fcndin") for form in (written, stored)]
    (root / "images" / "val" / "0.jpg").rename(root / "images" / "val" / f"{names[0]}.jpg")
    (root / "labels" / "val" / "0.txt").rename(root / "labels" / "val" / f"{names[1]}.txt")
    data = datasets(root)
    assert len(data.val.target(1, (20, 40)).boxes) == 2
    assert not data.reading.left_out


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_folders_match_in_any_unicode_form(root, written, stored):
    for kind, form in (("images", written), ("labels", stored)):
        (root / kind / "train").rename(root / kind / unicodedata.normalize(form, "h\u00fcndin"))
    named = unicodedata.normalize(stored, "h\u00fcndin")
    (root / "data.yaml").write_text(YAML.replace("images/train", f"images/{named}"))
    assert datasets(root).train.target(0, (20, 40)).labels.tolist() == [1, 0]


def test_comments_are_no_classes(root):
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("# the classes\ncat\n#\n")  # the last is a class
    data = datasets(root)
    assert data.classes == ["cat", "#"]
    assert data.val.target(0, (20, 40)).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 1.2 0.5 0.2 0.4", "the box is outside of the image"),
        ("0 1.1 0.1 1.3 0.1 1.3 0.4", "the box is outside of the image"),
        ("0 0.5 0.5 -0.2 0.4", "the box has no area"),
    ],
)
def test_a_box_without_area_in_the_image_is_counted_once(root, line, reason):
    (root / "labels" / "train" / "1.txt").write_text(f"{line}\n")
    reading = datasets(root).reading
    assert [(part.reason, part.count) for part in reading.left_out] == [(reason, 1)]
    assert not any("cut off" in note for note in reading.notes)
    assert reading.objects["train"] == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("{0: cat, 2: dog}", "the ids of names are 0, 2, but must be 0 to 1 .*\n.* 1: unused"),
        ("[cat, dog]\nnc: 3", "nc is 3, but names has 2 classes"),
    ],
)
def test_names_that_contradict_their_number_are_refused(root, names, message):
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    with pytest.raises(UsageError, match=message):
        datasets(root)


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (["1 cat", "2 dog"], "'1 cat' begins with 1, but its id is 0"),
        (["0: cat", "2: emu", "1: dog"], "'2: emu' begins with 2, but its id is 1"),
        (["0 cat", "1 dog"], None),
        (["2 euro", "5 euro"], None),
        (["1 euro", "euro"], None),
        (["2-euro", "1-euro"], None),
    ],
)
@pytest.mark.parametrize("file", ["classes.txt", "data.yaml"])
def test_numbers_before_the_names_that_contradict_the_ids_are_refused(root, file, names, wrong):
    (root / "data.yaml").unlink()
    listed = "\n".join(names) if file == "classes.txt" else f"names: {names}"
    (root / file).write_text(listed)
    if wrong is None:
        assert datasets(root).classes == names
        return
    with pytest.raises(UsageError, match=rf"{file}: the class {wrong}.*\n.*it: unused.*2-euro"):
        datasets(root)


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt", "labels/val/classes.txt"])
def test_lists_of_classes_that_contradict_each_other_are_refused(root, place):
    (root / place).write_text("Cat\ndog\nemu\n")  # one more
    assert datasets(root).classes == ["cat", "dog"]
    (root / place).write_text("dog\ncat\n")
    with pytest.raises(UsageError, match=rf"data\.yaml and .*{place} contradict.* 0 is cat or dog"):
        datasets(root)
    (root / place).write_text("images/train/0.jpg\n")  # no list of classes
    assert datasets(root).classes == ["cat", "dog"]


def test_a_list_of_classes_that_is_named_is_read_in_spite_of_another_beside_it(root):
    (root / "classes.txt").write_text("chat\nchien\n")
    assert datasets(root / "classes.txt").classes == ["chat", "chien"]
    assert datasets(root / "data.yaml").classes == ["cat", "dog"]


def test_corrected_boxes_are_listed_by_their_line(root):
    lines = "1 0.95 0.5 0.2 0.4\n0 0.5 0.5 0 0.1\n0 0.0 0.5 0.002 0.4\n"
    (root / "labels" / "train" / "1.txt").write_text(lines)
    train = datasets(root).train
    assert train.faults == {
        1: ("1.txt, line 1: the box is beyond the border", "1.txt, line 2: the box has no area")
    }
    assert train.target(1, (20, 40)).boxes[:, 2].tolist() == pytest.approx([1.0, 0.001])


def test_a_repeated_line_is_read_once_and_counted(root):
    (root / "labels" / "train" / "1.txt").write_text(
        "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2 \n0\t0.50 0.500 0.2 0.2\n"
    )
    data = datasets(root)
    assert len(data.train.target(1, (20, 40)).boxes) == 1
    (part,) = data.reading.left_out
    assert (part.kind, part.reason, part.count) == ("objects", "repeated", 2)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_inverted_box_is_left_out_and_counted(root, split):
    (root / "labels" / split / "1.txt").write_text("0 0.4 0.6 -0.2 -0.3\n0 0.5 0.5 0.2 0.2\n")
    data = datasets(root)
    (box,) = getattr(data, split).target(1, (20, 40)).boxes.tolist()
    assert box == pytest.approx([0.4, 0.4, 0.6, 0.6])
    assert data.reading.objects[split] == {"cat": 2, "dog": 1}
    (part,) = data.reading.left_out
    assert (part.kind, part.split, part.count) == ("objects", split, 1)
    assert part.reason == "the box has no area"


def test_key_points_are_no_corners(root):
    (root / "data.yaml").write_text(f"kpt_shape: [2, 2]\n{YAML}")
    (root / "labels" / "train" / "0.txt").write_text("1 0.5 0.5 0.2 0.4 0.1 0.1 0.9 0.9\n")
    expected = torch.tensor([[0.4, 0.3, 0.6, 0.7]])
    torch.testing.assert_close(datasets(root).train.target(0, (20, 40)).boxes, expected)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("[no, yes]", ["no", "yes"]),
        ("{0: off, 1: 'on'}", ["off", "on"]),
        ("[1.0, null]", ["1.0", "null"]),
        ("['cat ', ' dog']", ["cat", "dog"]),
    ],
)
def test_names_are_text(root, names, classes):
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    assert datasets(root).classes == classes


def test_images_without_any_label_are_refused_with_the_place_of_the_labels(root):
    (root / "labels").rename(root / "annotations")
    with pytest.raises(
        UsageError, match=r"(?s)2 images of train .*labels.train.0\.txt, which does not"
    ):
        datasets(root)


@pytest.mark.parametrize("test", ["images/test", "images/unlabelled"])
def test_a_test_split_without_images_or_objects_is_reported_and_val_is_tested(root, test):
    (root / "images" / "unlabelled").mkdir()
    Image.new("RGB", (40, 20)).save(root / "images" / "unlabelled" / "9.jpg")
    (root / "data.yaml").write_text(f"{YAML}test: {test}\n")
    data = datasets(root)
    assert data.test.paths.tolist() == data.val.paths.tolist()
    assert any("test" in note for note in data.reading.notes)


def test_a_list_of_images_may_have_backslashes_and_must_not_name_missing_files(root):
    (root / "data.yaml").write_text(YAML.replace("images/train", "lists\\train.txt"))
    (root / "lists").mkdir()
    (root / "lists" / "train.txt").write_text(".\\images\\train\\0.jpg\n.\\images\\train\\1.jpg\n")
    assert datasets(root).train.boxes.shape == (2, 4)
    (root / "images" / "train" / "1.jpg").unlink()
    with pytest.raises(UsageError, match=r"train\.txt names .*1\.jpg, which is missing \(1 of 2"):
        datasets(root)
    reading = datasets(root, skip_unreadable=True).reading
    assert reading.images["train"] == 1
    assert [(part.kind, part.reason) for part in reading.left_out] == [
        ("images", "the file is missing")
    ]


def test_labels_without_an_image_are_counted(root):
    (root / "labels" / "val" / "9.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "labels" / "classes.txt").write_text("cat\ndog\n")
    (root / "labels" / "val" / "._9.txt").touch()  # counted among the hidden files
    part, hidden = datasets(root).reading.left_out
    assert (hidden.kind, hidden.count) == ("files or folders", 1)
    assert (part.kind, part.first) == ("label files", str(root / "labels" / "val" / "9.txt"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_are_read_by_the_mark_of_their_encoding(root, encoding):
    for path in (root / "data.yaml", root / "labels" / "train" / "0.txt"):
        path.write_text(path.read_text().replace("cat", "caf\u00e9"), encoding=encoding)
    data = datasets(root)
    assert data.classes == ["caf\u00e9", "dog"]
    assert data.train.labels.tolist() == [1, 0]


def test_no_label_file_means_no_objects(root):
    assert len(datasets(root).train[1].target.boxes) == 0


def test_without_a_test_split_the_validation_images_are_tested(root):
    data = datasets(root)
    assert data.test.paths.tolist() == data.val.paths.tolist()


@pytest.mark.parametrize(
    "content",
    [
        "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n",
        "train: ../images/train\nvalid: ../images/val\nnc: 2\nnames: [cat, dog]\n",
        "train: train.txt\nval: [images/val]\nnames: [cat, dog]\n",
    ],
    ids=["with a path", "as Roboflow writes it", "with a list of files"],
)
def test_other_forms_of_data_yaml_are_read(root, content):
    (root / "data.yaml").write_text(content)
    (root / "train.txt").write_text("images/train/0.jpg\nimages/train/1.jpg\n")
    data = datasets(root)
    assert (len(data.train), len(data.val)) == (2, 2)
    assert len(data.train[0].target.boxes) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 1: class index 2 is not valid"),
        ("1.5 0.5 0.5 0.1 0.1", "class index 1.5 is not valid"),
        ("1 0.5 0.5 0.1", "line 1: '1 0.5 0.5 0.1' is not a class index with"),
        ("1 200 150 30 40", "is not a class index with"),
        ("1 0.5 0.5 0.1 0.1 0.4 0.4 2", "in data.yaml: kpt_shape: [1, 3]"),
        ("1 0.5 0.5 0.1 0.1 0.4 0.4 2 0.4 0.4 0", "in data.yaml: kpt_shape: [2, 3]"),
        ("dog 0.5 0.5 0.1 0.1", "is not a class index with"),
        ("1 nan 0.5 0.1 0.1", "is not a class index with"),
    ],
)
def test_an_invalid_line_is_named(root, line, message):
    (root / "labels" / "train" / "1.txt").write_text(f"{line}\n")
    with pytest.raises(UsageError) as caught:
        datasets(root)
    assert f"{root / 'labels' / 'train' / '1.txt'}, " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["0,0.35,0.35,0.5,0.5", "0 0,35 0,35 0,5 0,5", "# cat", "dog 0.5 0.5 0.1 0.1", "0 nan 1 1 1"],
)
def test_words_in_place_of_numbers_have_a_fix_of_their_own(root, line):
    (root / "labels" / "train" / "1.txt").write_text(f"{line}\n")
    with pytest.raises(UsageError, match=r"\nWrite numbers only, with spaces between them"):
        datasets(root)


@pytest.mark.parametrize("name", ["0.TXT", "0.jpg.txt"])
def test_label_files_of_other_names_are_named(root, name):
    (root / "labels" / "train" / "0.txt").rename(root / "labels" / "train" / name)
    with pytest.raises(UsageError, match=rf"0\.txt, which does not exist, but {name} is there"):
        datasets(root)


def test_boxes_in_pixels_are_not_taken_for_key_points(root):
    (root / "labels" / "train" / "1.txt").write_text("1 200 150 30 40 190 140 2\n")
    with pytest.raises(UsageError, match="Boxes in pixels must be divided") as caught:
        datasets(root)
    assert "kpt_shape" not in str(caught.value)


@pytest.mark.parametrize(
    ("points", "shape"),
    [("0.45 0.35 1 0.55 0.35 1", "[2, 3]"), ("0.45 0.35 0.55 0.35 0.5 0.6", "[3, 2]")],
)
def test_the_suggested_kpt_shape_reads_the_boxes(root, points, shape):
    (root / "labels" / "train" / "0.txt").write_text(f"0 0.5 0.5 0.2 0.4 {points}\n" * 2)
    (note,) = (note for note in datasets(root).reading.notes if "kpt_shape: " in note)
    line = note.removesuffix(".").rpartition(": ")[2]
    assert line == shape
    (root / "data.yaml").write_text(f"{YAML}kpt_shape: {line}\n")
    target = datasets(root).train.target(0, (20, 40))
    torch.testing.assert_close(target.boxes, torch.tensor([[0.4, 0.3, 0.6, 0.7]]))


def test_a_description_of_another_name_or_place_is_named(root):
    (root / "pets").mkdir()
    for place in (root / "pets" / "data.yaml", root / "coco128.yaml"):
        place.write_text(YAML)
        (root / "data.yaml").unlink(missing_ok=True)
        with pytest.raises(UsageError, match=rf"missing\.\nTo read {place}: data\.root={place}\n"):
            datasets(root)
    assert len(datasets(root / "coco128.yaml").train) == 2
    with pytest.raises(UsageError, match=r"lost\.yaml: there is no such"):
        datasets(root / "lost.yaml")


def test_names_on_one_line_are_refused_with_the_fix(root):
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat, dog\n")
    with pytest.raises(UsageError, match="a text file of names has one on each line"):
        datasets(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"data\.yaml is missing"),
        ("names: [a, a]\ntrain: x\n", "must list a unique name for each class"),
        ("names: [a, '']\ntrain: x\n", "must list a unique name for each class"),
        ("names: [a, b]\nval: images/val\n", "has no train"),
        ("names: [a, b]\ntrain: images/nowhere\nval: images/val\n", "there is no .*nowhere"),
        ("names: [a", "is not valid YAML"),
        ("names:\n- 0: a\n- 1: b\ntrain: images/train\n", "must list a unique name for each class"),
        (f"{YAML}valid: images/train\n", "names other images for val as valid: images/train"),
        ("names:\n  0: a\n  0: b\ntrain: images/train\n", "0 occurs 2 times in the same mapping"),
    ],
)
def test_an_invalid_data_yaml_is_named(root, content, message):
    (root / "data.yaml").unlink()
    if content is not None:
        (root / "data.yaml").write_text(content)
    with pytest.raises(UsageError, match=message):
        datasets(root)


@pytest.mark.parametrize("prefix", ["/content/pets/", "C:\\pets\\", "pets/"])
def test_the_folders_of_another_computer_are_found_by_their_last_parts(root, prefix):
    (root / "data.yaml").write_text(
        f"train: {prefix}images/train\nval: {prefix}images/val\ntest: {prefix}images/test\n"
        "names: [cat, dog]\n"
    )
    found = datasets(root)
    assert {Path(path).parent for path in found.val.paths} == {root / "images" / "val"}
    name = f"{prefix}images/train".replace("\\", "/")
    assert f"{root / 'data.yaml'} names {name}, which is read as {root / 'images' / 'train'}." in (
        found.reading.notes
    )
    assert any("images/test, which does not exist" in note for note in found.reading.notes)


def test_a_path_of_another_computer_is_noted(root):
    (root / "data.yaml").write_text(f"path: ../datasets/pets\n{YAML}")
    notes = datasets(root).reading.notes
    assert any(f"../datasets/pets, which does not exist: {root} is used." in note for note in notes)


@pytest.mark.parametrize("kind", ["path", "train", "list"])
def test_images_outside_the_data_set_are_refused_unless_they_are_allowed(root, kind):
    data = root / "data"
    data.mkdir()
    content = {
        "path": f"path: {root}\n{YAML}",
        "train": YAML.replace("images/", f"{root}/images/"),
        "list": YAML.replace("images/train", "list.txt").replace("images/val", "list.txt"),
    }
    (data / "data.yaml").write_text(content[kind])
    (data / "list.txt").write_text("../images/train/0.jpg\n../images/train/1.jpg\n")
    with pytest.raises(UsageError, match=r"(data\.yaml|list\.txt) names .*jpg, which is outside"):
        datasets(data)
    assert len(datasets(data, outside_root=True).train) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [("obj.data", "classes = 2\ntrain = train.txt\n"), ("train.txt", "images/train/0.jpg\n")],
)
def test_a_file_of_paths_is_no_list_of_classes(root, name, content):
    (root / name).write_text(content)
    with pytest.raises(UsageError, match=rf"{name} is not a list of class names"):
        datasets(root / name)


def test_the_root_may_be_a_file_with_a_suffix_in_upper_case(root):
    (root / "data.yaml").rename(root / "MINE.YAML")
    assert datasets(root / "MINE.YAML").classes == ["cat", "dog"]


def test_the_absolute_path_of_the_data_set_itself_is_read(root):
    (root / "data.yaml").write_text(f"path: {root}\n{YAML}")
    assert len(datasets(root).train) == 2


FLAT = ["names: [cat, dog]\n", "path: .\ntrain: images\nnames: [cat, dog]\n", None]


@pytest.mark.parametrize("content", FLAT, ids=["names only", "train only", "classes.txt"])
def test_images_without_splits_are_split_with_their_boxes(tmp_path, content):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for index in range(10):
        Image.new("RGB", (40, 20)).save(tmp_path / "images" / f"{index}.jpg")
        line = f"{index % 2} 0.5 0.5 0.2 {(index + 1) / 20}\n"
        (tmp_path / "labels" / f"{index}.txt").write_text(line)
    if content is None:
        (tmp_path / "labels" / "classes.txt").write_text("cat\ndog\n\n")
    else:
        (tmp_path / "data.yaml").write_text(content)
    data = datasets(tmp_path)
    assert data.classes == ["cat", "dog"]
    parts = [data.train, data.val, data.test]
    assert [len(part) for part in parts] == [6, 2, 2]  # one image of each class at least
    assert sorted(data.val.labels.tolist()) == sorted(data.test.labels.tolist()) == [0, 1]
    for part in parts:
        for path, (_, top, _, bottom) in zip(part.paths, part.boxes.tolist(), strict=True):
            assert bottom - top == pytest.approx((int(Path(path).stem) + 1) / 20)


@pytest.mark.parametrize("place", ["images/{}", "{}/images"])
def test_folders_of_splits_are_found_without_data_yaml(root, place):
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            target = root / place.format(split).replace("images", kind)
            target.parent.mkdir(exist_ok=True)
            (root / kind / split).rename(target)
    for kind in ("images", "labels"):
        if not list((root / kind).iterdir()):
            (root / kind).rmdir()
    data = datasets(root)
    assert (len(data.train), len(data.val), len(data.test)) == (2, 2, 2)
    assert data.val[0].target.labels.tolist() == [1, 0]


def test_the_root_may_be_the_file_in_a_linked_folder_below_home(root, monkeypatch):
    (root / "data.yaml").rename(root / "my.yaml")
    (root / "link").symlink_to(root)
    monkeypatch.setenv("HOME", str(root))
    assert len(datasets("~/link/my.yaml").train) == 2


def test_lists_of_the_splits_are_read_without_data_yaml(tmp_path):
    lists = {"train": ("obj_train_data", "012"), "valid": ("obj_valid_data", "34")}
    (tmp_path / "obj.names").write_text("cat\ndog\n")
    for split, (folder, stems) in lists.items():
        (tmp_path / folder).mkdir()
        for stem in stems:
            Image.new("RGB", (40, 20)).save(tmp_path / folder / f"{stem}.jpg")
            (tmp_path / folder / f"{stem}.txt").write_text("1 0.5 0.5 0.2 0.4\n")
        lines = [f"data/{folder}/{stem}.jpg\n" for stem in stems]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    data = datasets(tmp_path)
    found = [[Path(path).stem for path in part.paths] for part in (data.train, data.val)]
    assert found == [["0", "1", "2"], ["3", "4"]]
    assert data.val.target(0, (20, 40)).labels.tolist() == [1]


def test_the_labels_of_an_image_named_train_are_no_list(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n")
    for stem in ("train", *"123456789"):
        Image.new("RGB", (40, 20)).save(tmp_path / f"{stem}.jpg")
        (tmp_path / f"{stem}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    data = datasets(tmp_path)
    assert [len(part) for part in (data.train, data.val, data.test)] == [8, 1, 1]
