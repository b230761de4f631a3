import json
import math

import pytest
from PIL import Image
from pydantic import TypeAdapter

from {{ cookiecutter.package_name }}.data.labelme import read_labelme
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.coco import CocoMasks
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.schema import DataSettings

from small import data_preset

POLYGON = {"label": "cat", "points": [[2, 3], [12, 3], [7, 9]], "shape_type": "polygon"}
RECTANGLE = {"label": "dog", "points": [[30, 15], [20, 5]], "shape_type": "rectangle"}


def write_file(root, name, shapes, **changes):
    """Write an image of 40 x 20 pixels and its JSON file."""
    root.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(root / f"{name}.jpg")
    content = {"shapes": shapes, "imagePath": f"{name}.jpg", "imageHeight": 20, "imageWidth": 40}
    (root / f"{name}.json").write_text(json.dumps(content | changes))


def read(root, reading=None):
    """The class names and the images by split."""
    settings = TypeAdapter(DataSettings).validate_python(data_preset("labelme") | {"root": root})
    return read_labelme(root, settings, reading or Reading())


def contents(image):
    # ~ if cookiecutter.task == "detection"
    return [(item.label, item.content["bbox"]) for item in image.objects]


    # ~ else
    return [(item.label, item.content["segmentation"]) for item in image.objects]


    # ~ endif
def test_polygons_and_rectangles_become_objects(tmp_path):
    write_file(tmp_path, "a", [RECTANGLE, POLYGON])
    classes, splits = read(tmp_path)
    (image,) = splits["train"]
    assert classes == ["cat", "dog"]
    assert (image.path, image.width, image.height) == (tmp_path / "a.jpg", 40, 20)
    # ~ if cookiecutter.task == "detection"
    assert contents(image) == [(1, [20, 5, 10, 10]), (0, [2, 3, 10, 6])]


    # ~ else
    assert contents(image) == [(1, [[20, 5, 30, 5, 30, 15, 20, 15]]), (0, [[2, 3, 12, 3, 7, 9]])]


    # ~ endif
def test_an_annotation_file_is_not_read_for_the_image_of_another(tmp_path):
    for split in ("train", "val"):
        write_file(tmp_path / split, "a", [POLYGON])
    (tmp_path / "train" / "a.jpg").unlink()
    expected = r"train/a\.json and .*val/a\.json both belong to .*val/a\.jpg"
    with pytest.raises(UsageError, match=expected):
        read(tmp_path)


@pytest.mark.parametrize(
    ("named", "nearer"),
    [
        ("../images/a.jpg", "json/a.png"),
        ("..\\images\\a.jpg", "vis/a.jpg"),
        ("/home/me/a.JPG", "json/trimaps/a.png"),
    ],
)
def test_the_image_that_a_file_names_is_read_though_another_is_nearer(tmp_path, named, nearer):
    write_file(tmp_path / "json", "a", [POLYGON], imagePath=named)
    (tmp_path / "images").mkdir()
    (tmp_path / "json" / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    (tmp_path / nearer).parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 20)).save(tmp_path / nearer)
    (image,) = read(tmp_path)[1]["train"]
    assert image.path == tmp_path / "images" / "a.jpg"


def test_a_circle_is_the_shape_around_its_centre(tmp_path):
    circle = {"label": "cat", "points": [[20, 10], [20, 15]], "shape_type": "circle"}
    write_file(tmp_path, "a", [circle])
    ((_, content),) = contents(read(tmp_path)[1]["train"][0])
    # ~ if cookiecutter.task == "detection"
    assert content == pytest.approx([15, 5, 10, 10])


    # ~ else
    corners = zip(content[0][::2], content[0][1::2], strict=True)
    assert all(math.dist(corner, (20, 10)) == pytest.approx(5) for corner in corners)


    # ~ endif
def test_shapes_of_a_group_are_one_object(tmp_path):
    other = POLYGON | {"points": [[30, 10], [36, 10], [33, 18]]}
    write_file(tmp_path, "a", [POLYGON | {"group_id": 4}, RECTANGLE, other | {"group_id": 4}])
    (image,) = read(tmp_path)[1]["train"]
    # ~ if cookiecutter.task == "detection"
    assert contents(image) == [(0, [2, 3, 34, 15]), (1, [20, 5, 10, 10])]
    write_file(tmp_path, "a", [POLYGON | {"group_id": ""}, other | {"group_id": ""}])
    (image,) = read(tmp_path)[1]["train"]
    assert len(image.objects) == 2


    # ~ else
    assert [len(outlines) for _, outlines in contents(image)] == [2, 1]


    # ~ endif
@pytest.mark.parametrize(("groups", "noted"), [((0, 0), True), ((0, 1), False), ((None, 0), False)])
def test_a_group_of_all_shapes_is_noted(tmp_path, groups, noted):
    for name in "ab":
        shapes = [POLYGON | {"group_id": group} for group in (groups[0], groups[0], groups[1])]
        write_file(tmp_path, name, shapes)
    reading = Reading()
    read(tmp_path, reading)
    assert ["(group 0)" in note and "4 of 6 shapes" in note for note in reading.notes] == (
        [True] * noted
    )
    write_file(tmp_path, "b", [POLYGON | {"group_id": 0}])
    write_file(tmp_path, "a", [POLYGON | {"group_id": 0}, RECTANGLE | {"group_id": 0}])
    reading = Reading()
    read(tmp_path, reading)
    assert reading.notes == []


def test_shapes_without_area_are_left_out_and_counted(tmp_path):
    flat = [[2, 3], [12, 13], [7, 8]], [[2, 3], [12, 3], [7, 3]]
    crossing = [[0, 0], [10, 10], [10, 0], [0, 10]]
    write_file(tmp_path, "a", [POLYGON, *(POLYGON | {"points": points} for points in flat)])
    write_file(tmp_path, "b", [POLYGON | {"points": crossing}])
    for name in "cd":
        write_file(tmp_path, name, [POLYGON])
    settings = data_preset("labelme") | {"root": tmp_path}
    reading = build_datasets(TypeAdapter(DataSettings).validate_python(settings)).reading
    # ~ if cookiecutter.task == "detection"
    reason = "polygons without area"
    # ~ else
    reason = "without any pixel"
    # ~ endif
    assert [(part.reason, part.count) for part in reading.left_out] == [(reason, 2)]


def test_points_and_lines_are_left_out_and_counted(tmp_path):
    line = {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "line"}
    write_file(tmp_path, "a", [line, POLYGON])
    reading = Reading()
    _, splits = read(tmp_path, reading)
    assert len(splits["train"][0].objects) == 1
    assert [(part.count, part.reason) for part in reading.left_out] == [
        (1, "shapes of the type line, which are not read")
    ]
    write_file(tmp_path, "a", [line])
    with pytest.raises(UsageError, match=r"nothing to learn\.\nLeft out: 1 object \(shapes of the"):
        read(tmp_path)


def test_labels_that_are_no_classes_are_counted(tmp_path):
    ignored = RECTANGLE | {"label": "__ignore__"}
    flat = {"label": "_background_", "points": [[2, 3], [12, 3], [7, 3]]}
    write_file(tmp_path, "a", [POLYGON, ignored, POLYGON | flat])
    reading = Reading()
    classes, splits = read(tmp_path, reading)
    assert classes == ["cat"]
    assert [part.reason for part in reading.left_out] == [
        "__ignore__, which is not a class",
        "_background_, which is not a class",
    ]
    # ~ if cookiecutter.task == "detection"
    assert [item.label for item in splits["train"][0].objects] == [0]
    # ~ else
    mask = CocoMasks(splits["train"])(0, (20, 40))
    assert (mask == 255).sum() == 10 * 10
    assert mask.unique().tolist() == [0, 1, 255]
    # ~ endif
    write_file(tmp_path, "a", [ignored])
    with pytest.raises(UsageError, match="has no annotated object in train"):
        read(tmp_path)


def test_the_image_may_lie_elsewhere_and_the_file_may_have_no_size(tmp_path):
    write_file(tmp_path / "json", "a", [POLYGON], imagePath="..\\photos\\b.jpg", imageHeight=None)
    (tmp_path / "photos").mkdir()
    (tmp_path / "json" / "a.jpg").rename(tmp_path / "photos" / "b.jpg")
    (image,) = read(tmp_path)[1]["train"]
    assert image.path == tmp_path / "photos" / "b.jpg"
    assert (image.width, image.height) == (40, 20)


def test_points_of_a_file_that_look_like_shares_are_refused(tmp_path):
    write_file(tmp_path, "b", [POLYGON])
    write_file(tmp_path, "a", [POLYGON | {"points": [[0.1, 0.2], [0.5, 0.2], [0.5, 1]]}])
    with pytest.raises(UsageError, match=r"a\.json: all coordinates are from 0 to 1"):
        read(tmp_path)


def test_an_image_of_the_same_name_twice_is_refused(tmp_path):
    write_file(tmp_path / "a", "1", [POLYGON])
    (tmp_path / "a" / "1.json").rename(tmp_path / "1.json")
    write_file(tmp_path / "b", "1", [POLYGON])
    (tmp_path / "b" / "1.json").unlink()
    with pytest.raises(UsageError, match=r"1\.json may belong to .*a/1\.jpg or to .*b/1\.jpg"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (None, "shapes: "),
        ([POLYGON | {"label": None}], r"shapes\[0\]\.label: "),
        ([{"label": "cat", "shape_type": "polygon"}], r"shapes\[0\]\.points: Field required"),
        ([POLYGON, POLYGON | {"points": [[1, 1]]}], "shape 1 is a polygon of 1 points only"),
        ([POLYGON | {"points": [[1, 1], [9, 1], [9, math.nan]]}], r"shapes\[0\]\.points\[2\]"),
    ],
)
def test_an_invalid_file_is_named(tmp_path, shapes, message):
    write_file(tmp_path, "a", shapes)
    with pytest.raises(UsageError, match=rf"a\.json.*{message}"):
        read(tmp_path)


def test_the_task_reads_folders_of_splits(tmp_path):
    for split in ("train", "val"):
        for name in "ab":
            write_file(tmp_path / split, name, [RECTANGLE, POLYGON])
    data = data_preset("labelme") | {"root": tmp_path, "image_size": 32}
    datasets = build_datasets(TypeAdapter(DataSettings).validate_python(data))
    assert len(datasets.train) == len(datasets.val) == len(datasets.test) == 2
    # ~ if cookiecutter.task == "detection"
    assert datasets.classes == ["cat", "dog"]
    assert datasets.val[0].target.labels.tolist() == [1, 0]
    # ~ else
    assert datasets.classes == ["background", "cat", "dog"]
    mask = datasets.train.masks(0, (20, 40))
    assert (mask == 2).sum() == 10 * 10
    assert mask[4, 7] == 1
    # ~ endif
