import shutil
import unicodedata

import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.detection import BoxFolderSettings

from small import data_preset

SIZE = "<size><width>40</width><height>20</height><depth>3</depth></size>"
PART = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"


def voc_object(name, box, difficult=0):
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    tags = "".join(f"<{corner}>{value}</{corner}>" for corner, value in corners)
    difficult = f"<difficult>{difficult}</difficult>"
    return f"<object><name>{name}</name>{difficult}{PART}<bndbox>{tags}</bndbox></object>"


def write_image(path, xml, size=SIZE, objects=()):
    """Write an image of 40 x 20 pixels and its annotations."""
    for folder in (path.parent, xml.parent):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)
    content = "".join(objects) or voc_object("cat", (1, 1, 40, 10))
    xml.write_text(f"<annotation><filename>{path.name}</filename>{size}{content}</annotation>")


@pytest.fixture
def root(tmp_path):
    """Four images with lists of three splits, as in VOC2007."""
    images, annotations = tmp_path / "JPEGImages", tmp_path / "Annotations"
    for name in "abcd":
        write_image(images / f"{name}.jpg", annotations / f"{name}.xml")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split, listed in (("train", "a\nb\n"), ("val", "c"), ("test", "d"), ("cat_train", "a 1")):
        (lists / f"{split}.txt").write_text(listed)
    return tmp_path


def datasets(root, **changes):
    changes |= {"root": root, "image_size": 32}
    return build_datasets(BoxFolderSettings.model_validate(data_preset("voc") | changes))


def names(dataset):
    return [path.rpartition("/")[2] for path in dataset.paths]


def test_corners_count_pixels_from_one_and_the_last_pixel_is_in_the_box(root):
    objects = [voc_object("dog", (5, 3, 8.0, 12)), voc_object("cat", (1, 1, 40, 20))]
    write_image(root / "JPEGImages" / "b.jpg", root / "Annotations" / "b.xml", objects=objects)
    data = datasets(root)
    assert data.classes == ["cat", "dog"]
    target = data.train.target(1, (20, 40))
    # Pixels 5 to 8 of 40 begin at 4 and end at 8.
    expected = torch.tensor([[4 / 40, 2 / 20, 8 / 40, 12 / 20], [0, 0, 1, 1]])
    torch.testing.assert_close(target.boxes, expected)
    assert target.labels.tolist() == [1, 0]
    assert target.areas.tolist() == pytest.approx([4 * 10, 40 * 20])


def test_corners_count_from_zero_if_one_is_zero(root):
    objects = [voc_object("cat", (0, 2, 8, 12)), voc_object("cat", (5, 3, 40, 20))]
    write_image(root / "JPEGImages" / "b.jpg", root / "Annotations" / "b.xml", objects=objects)
    data = datasets(root)
    expected = torch.tensor([[0, 2 / 20, 8 / 40, 12 / 20], [5 / 40, 3 / 20, 1, 1]])
    torch.testing.assert_close(data.train.target(1, (20, 40)).boxes, expected)
    first = torch.tensor([[1 / 40, 1 / 20, 1, 10 / 20]])
    torch.testing.assert_close(data.val.target(0, (20, 40)).boxes, first)
    note = f"{root}/Annotations/b.xml has a corner less than 1: all boxes are read as edges in"
    assert data.reading.notes[0].startswith(note)


def test_corners_that_look_like_shares_are_refused(root):
    for name in "abcd":
        objects = [voc_object("cat", (0.1, 0.2, 0.5, 1))]
        path = root / "Annotations" / f"{name}.xml"
        write_image(root / "JPEGImages" / f"{name}.jpg", path, objects=objects)
    with pytest.raises(UsageError, match=r"\.xml: all coordinates are from 0 to 1"):
        datasets(root)


def test_suffixes_may_be_in_upper_case(root):
    for path in (root / "Annotations").iterdir():
        path.rename(path.with_suffix(".XML"))
    assert names(datasets(root).train) == ["a.jpg", "b.jpg"]
    (root / "Annotations" / "a.XML").unlink()
    with pytest.raises(UsageError, match=r"train\.txt names a, but there is no .*a\.xml"):
        datasets(root)


def test_a_listed_name_with_a_dot_is_not_that_of_another_file(root):
    (root / "ImageSets" / "Main" / "train.txt").write_text("a.v2\n")
    with pytest.raises(UsageError, match=r"train\.txt names a\.v2, but there is no .*a\.v2\.xml"):
        datasets(root)


def test_the_lists_of_voc_are_the_splits(root):
    data = datasets(root)
    assert [names(part) for part in (data.train, data.val, data.test)] == [
        ["a.jpg", "b.jpg"],
        ["c.jpg"],
        ["d.jpg"],
    ]
    below = root.parent / "devkit" / "VOCdevkit"
    below.mkdir(parents=True)
    shutil.copytree(root, below / "VOC2007")
    assert names(datasets(below).val) == ["c.jpg"]
    for place in (root / "ImageSets", root):
        for path in sorted((below / "VOC2007" / "ImageSets" / "Main").iterdir()):
            (root / "ImageSets" / "Main" / path.name).unlink(missing_ok=True)
            (root / "ImageSets" / path.name).unlink(missing_ok=True)
            shutil.copy(path, place)
        assert names(datasets(root).val) == ["c.jpg"]
    (root / "test.txt").unlink()
    assert names(datasets(root).test) == ["c.jpg"]


def test_lists_among_the_annotations_are_noted_and_read_where_the_note_says(root):
    (root / "Annotations" / "xmls").mkdir()
    for path in [*(root / "Annotations").glob("*.xml")]:
        path.rename(path.parent / "xmls" / path.name)
    for path in [*(root / "ImageSets" / "Main").iterdir()]:
        path.rename(root / "Annotations" / path.name)
    for index in range(6):
        name = f"{index}.jpg"
        write_image(root / "JPEGImages" / name, root / "Annotations" / "xmls" / f"{index}.xml")
    data = datasets(root)
    assert [len(part) for part in (data.train, data.val, data.test)] == [8, 1, 1]
    lists = f"lists, move them to {root / 'ImageSets' / 'Main'}."
    assert [note.endswith(lists) for note in data.reading.notes if "is not read" in note] == [True]
    for path in [*(root / "Annotations").glob("*.txt")]:
        path.rename(root / "ImageSets" / "Main" / path.name)
    data = datasets(root)
    assert [names(part) for part in (data.train, data.val)] == [["a.jpg", "b.jpg"], ["c.jpg"]]


@pytest.mark.parametrize("form", ["{}.jpg", "VOC2007\\JPEGImages\\{}.JPG", "Annotations/{}.xml"])
def test_a_list_may_name_files(root, form):
    stems = ("a.1", "bu\u0308ndel")
    for old, new in zip("ab", stems, strict=True):
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            (root / folder / f"{old}.{suffix}").rename(root / folder / f"{new}.{suffix}")
    lines = [form.format(unicodedata.normalize("NFC", stem)) for stem in stems]
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(lines))
    assert names(datasets(root).train) == [f"{stem}.jpg" for stem in stems]


def test_the_lists_of_all_years_are_the_splits(root, tmp_path_factory):
    devkit = tmp_path_factory.mktemp("VOCdevkit")
    shutil.copytree(root, devkit / "VOC2007")
    for path in [*root.glob("*/?.*"), *root.glob("*/Main/*.txt")]:
        if path.suffix == ".txt":
            path.write_text("".join(f"2012_{line}\n" for line in path.read_text().split()))
        else:
            path.rename(path.with_stem(f"2012_{path.stem}"))
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    shutil.copytree(root, devkit / "VOC2012")
    data = datasets(devkit)
    assert names(data.train) == ["a.jpg", "b.jpg", "2012_a.jpg", "2012_b.jpg"]
    assert (names(data.val), names(data.test)) == (["c.jpg", "2012_c.jpg"], ["d.jpg"])


def test_a_list_for_test_without_annotations_is_not_used(root):
    (root / "Annotations" / "d.xml").unlink()
    data = datasets(root)
    assert names(data.test) == names(data.val)
    assert data.reading.notes[0].startswith(f"{root}/ImageSets/Main/test.txt names no XML file")


def test_a_list_of_train_and_val_is_split_and_names_have_any_case(root):
    lists = root / "ImageSets" / "Main"
    (lists / "val.txt").unlink()
    (lists / "train.txt").unlink()
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    lists.rename(root / "ImageSets" / "main")
    (root / "ImageSets").rename(root / "imagesets")
    data = datasets(root)
    assert sorted(names(data.train) + names(data.val)) == ["a.jpg", "b.jpg", "c.jpg"]
    assert names(data.test) == ["d.jpg"]


def test_names_in_a_list_may_have_spaces(root):
    for path in (root / "Annotations" / "b.xml", root / "JPEGImages" / "b.jpg"):
        path.rename(path.with_stem("b 1"))
    (root / "Annotations" / "b 1.xml").write_text(
        (root / "Annotations" / "b 1.xml").read_text().replace("b.jpg", "b 1.jpg")
    )
    (root / "ImageSets" / "Main" / "train.txt").write_text("a 1\nb 1\n")
    assert names(datasets(root).train) == ["a.jpg", "b 1.jpg"]


def test_a_folder_for_test_without_annotations_is_not_used(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / split / "a.jpg", tmp_path / split / "a.xml")
    (tmp_path / "test").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "test" / "b.jpg")
    data = datasets(tmp_path)
    assert names(data.test) == ["a.jpg"]
    assert any("test has no .xml file, so it is not used" in note for note in data.reading.notes)


def test_difficult_objects_are_crowds_and_reported(root):
    objects = [voc_object("cat", (1, 1, 4, 4)), voc_object("cat", (1, 1, 9, 9), difficult=1)]
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", objects=objects)
    data = datasets(root)
    assert data.train.target(0, (20, 40)).crowd.tolist() == [False, True]
    file = root / "Annotations" / "a.xml"
    expected = f"1 object (difficult, which are ignored like crowds; the first is {file})"
    assert expected in data.reading.lines()[1]


def test_an_object_that_is_marked_as_deleted_is_left_out_and_counted(root):
    kept, deleted = voc_object("cat", (1, 1, 4, 4)), voc_object("cat", (1, 1, 9, 9))
    objects = [
        kept.replace("</object>", "<deleted>0</deleted></object>"),
        deleted.replace("</object>", "<deleted> 1 </deleted></object>"),
    ]
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", objects=objects)
    data = datasets(root)
    expected = torch.tensor([[0, 0, 4 / 40, 4 / 20]])
    torch.testing.assert_close(data.train.target(0, (20, 40)).boxes, expected)
    parts = [(part.reason, part.split, part.count) for part in data.reading.left_out]
    assert parts == [("marked as deleted", "train", 1)]


def test_an_object_of_several_boxes_is_refused(root):
    box = voc_object("cat", (1, 1, 4, 4))
    twice = box.replace("</object>", box[box.rindex("<bndbox>") :])
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", objects=[twice])
    with pytest.raises(UsageError, match=r"a\.xml: an object cat has several boxes\.\nEach .* one"):
        datasets(root)


@pytest.mark.parametrize(
    ("word", "crowd"),
    [("False", False), ("0.0", False), ("Unspecified", False), (" ", False), ("True", True)],
)
def test_difficult_may_be_a_word(root, word, crowd):
    objects = [voc_object("cat", (1, 1, 4, 4)), voc_object("cat", (1, 1, 9, 9), difficult=word)]
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", objects=objects)
    assert datasets(root).train.target(0, (20, 40)).crowd.tolist() == [False, crowd]


@pytest.mark.parametrize("size", ["", SIZE.replace("40", "0")])
def test_a_missing_size_is_that_of_the_image(root, size):
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", size)
    assert datasets(root).train.target(0, (20, 40)).boxes.tolist() == [[0, 0, 1, 0.5]]
    assert datasets(root).train.sizes.tolist()[0] == [20, 40]


def test_folders_of_splits_with_xml_beside_the_images_are_read(tmp_path):
    for split in ("train", "valid"):  # files of the same name, as Roboflow writes them
        write_image(tmp_path / split / "a.jpg", tmp_path / split / "a.xml")
    data = datasets(tmp_path)
    assert [path.removeprefix(f"{tmp_path}/") for path in data.train.paths] == ["train/a.jpg"]
    assert [path.removeprefix(f"{tmp_path}/") for path in data.test.paths] == ["valid/a.jpg"]


def test_images_of_one_name_in_the_folders_of_splits_are_told_apart(tmp_path):
    for split in ("train", "val"):
        folder = tmp_path / split
        write_image(folder / "images" / "a.jpg", folder / "annotations" / "a.xml")
    data = datasets(tmp_path)
    assert data.train.paths.tolist() == [str(tmp_path / "train" / "images" / "a.jpg")]
    assert data.val.paths.tolist() == [str(tmp_path / "val" / "images" / "a.jpg")]


@pytest.mark.parametrize(("images", "annotations"), [("images", "annotations"), ("", "")])
def test_images_without_splits_are_split(tmp_path, images, annotations):
    for index in range(10):
        objects = [voc_object("cat", (1, 1, index + 1, 10))]
        xml = tmp_path / annotations / f"{index}.xml"
        write_image(tmp_path / images / f"{index}.png", xml, objects=objects)
    Image.new("RGB", (40, 20)).save(tmp_path / images / "unlabelled.png")
    data = datasets(tmp_path)
    parts = [data.train, data.val, data.test]
    assert [len(part) for part in parts] == [8, 1, 1]
    for part in parts:
        widths = (part.boxes[:, 2] * 40 - 1).round().astype(int)
        assert [f"{width}.png" for width in widths] == names(part)
    assert "1 image (not among the annotated images" in data.reading.lines()[1]


def test_classes_txt_names_and_orders_the_classes(root):
    (root / "classes.txt").write_text("dog\ncat\n")
    data = datasets(root)
    assert data.classes == ["dog", "cat"]
    assert data.train.labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation", r"a\.xml is not valid XML"),
        ("", r"a\.xml is not valid XML: no element found.*\nWrite or download it again"),
        ("<svg/>", r"a\.xml is not a Pascal VOC file: it begins with <svg>"),
        ("<annotation><object><name>x</name></object></annotation>", "x has the corners"),
        (f"<annotation>{voc_object('x', (1, 2, 'nan', 9))}</annotation>", "x has .*'nan'"),
        (f"<annotation>{voc_object('x', (1, 2, 'a', 9))}</annotation>", "x has .*'a'"),
        (
            f"<annotation>{voc_object('x', (1, 1, 2, 2), difficult='no')}</annotation>",
            "x is difficult=no, which is neither 0 nor 1",
        ),
        (f"<annotation>{SIZE}{voc_object('', (1, 1, 2, 2))}</annotation>", "object has no name"),
    ],
)
def test_an_invalid_file_is_named(root, xml, message):
    (root / "Annotations" / "a.xml").write_text(xml)
    with pytest.raises(UsageError, match=message):
        datasets(root)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("GBK", "gbk"),
        ("gb2312", "gb18030"),
        ("Big5", "big5"),
        ("utf-16", "utf-8"),  # as tools write it that convert the text afterwards
        ("utf-16", "utf-16"),
        ("utf-8", "utf-8-sig"),
    ],
)
def test_the_declared_encoding_is_read(root, declared, encoding):
    xml = f'<?xml version="1.0" encoding="{declared}"?>\n<annotation>{SIZE}'
    xml += f"{voc_object('中文', (1, 1, 40, 10))}</annotation>"
    for path in (root / "Annotations").iterdir():
        path.write_bytes(xml.encode(encoding))
    assert datasets(root).classes == ["中文"]


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="utf-8"?>'])
def test_a_file_of_another_encoding_is_named(root, head):
    xml = f"{head}<annotation>{SIZE}{voc_object('中文', (1, 1, 40, 10))}</annotation>"
    (root / "Annotations" / "a.xml").write_bytes(xml.encode("gbk"))
    with pytest.raises(UsageError, match=r"a\.xml is not UTF-8 text.*\n.*save it as UTF-8"):
        datasets(root)


def test_a_size_in_decimals_is_read(root):
    size = SIZE.replace("40", "40.0").replace("20", "20.0")
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", size=size)
    assert datasets(root).train.sizes.tolist() == [[20, 40], [20, 40]]


def test_a_file_that_names_the_image_of_another_file_is_noted(root):
    write_image(root / "JPEGImages" / "b.jpg", root / "Annotations" / "a.xml")
    data = datasets(root)
    assert names(data.train) == ["a.jpg", "b.jpg"]
    note = f"than the one with their own name: 1, such as {root}/Annotations/a.xml with b.jpg."
    assert note in data.reading.notes[0]
    write_image(root / "JPEGImages" / "gone.jpg", root / "Annotations" / "a.xml")
    (root / "JPEGImages" / "gone.jpg").unlink()
    assert datasets(root).reading.notes == []


def test_an_object_that_names_no_class_is_ignored(root):
    objects = [voc_object("__ignore__", (1, 1, 4, 4)), voc_object("cat", (5, 5, 9, 9))]
    write_image(root / "JPEGImages" / "a.jpg", root / "Annotations" / "a.xml", objects=objects)
    data = datasets(root)
    assert data.classes == ["cat"]
    assert data.train.crowd.tolist() == [True, False, False]


def test_an_image_that_is_listed_for_two_splits_is_refused(root):
    (root / "ImageSets" / "Main" / "val.txt").write_text("c\na\n")
    message = r"a\.xml is listed twice, in one split or in two\.\nKeep a single entry"
    with pytest.raises(UsageError, match=message):
        datasets(root)


def test_two_lists_of_a_split_are_refused(root):
    (root / "ImageSets" / "Main" / "valid.txt").write_text("c")
    with pytest.raises(UsageError, match=r"val\.txt and .*valid\.txt are both lists of val"):
        datasets(root)


def test_a_class_that_is_not_in_train_is_named(root):
    objects = [voc_object("bird", (1, 1, 4, 4))]
    write_image(root / "JPEGImages" / "c.jpg", root / "Annotations" / "c.xml", objects=objects)
    with pytest.raises(UsageError, match=r"c\.xml has an object of the class bird"):
        datasets(root)


@pytest.mark.parametrize("name", ["JPEGImages/a.jpg", "Annotations/a.xml"])
def test_a_missing_file_is_named(root, name):
    (root / name).unlink()
    with pytest.raises(UsageError, match=name.rpartition("/")[2]):
        datasets(root)


def test_an_image_of_iphones_is_refused_with_the_package_that_reads_it(root):
    image = root / "JPEGImages" / "b.jpg"
    image.rename(image.with_suffix(".HEIC"))
    with pytest.raises(
        UsageError, match=r"b\.xml: its image .*b\.HEIC has .*\n.*uv add pillow-heif"
    ):
        datasets(root)


def test_a_missing_image_can_be_left_out(root):
    (root / "JPEGImages" / "a.jpg").unlink()
    data = datasets(root, skip_unreadable=True)
    assert names(data.train) == ["b.jpg"]
    parts = [(part.kind, part.split, part.count) for part in data.reading.left_out]
    assert parts == [("images", "train", 1), ("objects", "train", 1)]
