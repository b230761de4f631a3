from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.detection.boxes import Target
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.detection.transforms import OnBoxes, train_transform
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.data import ShapesSettings
from {{ cookiecutter.package_name }}.settings.detection import BoxFolderSettings

from coco_data import write_coco
from small import data_preset, loader_settings

AUGMENT = data_preset("shapes")["augment"] | {"crop_scale": 0.5, "rotate": 20, "color": 0.2}


def shapes(root, **changes):
    settings = data_preset("shapes") | {
        "root": root,
        "image_size": 64,
        "train_images": 40,
        "val_images": 10,
        "test_images": 10,
        "augment": AUGMENT,
    }
    return ShapesSettings.model_validate(settings | changes)


def folder(root, **changes):
    settings = data_preset("coco") | {"root": root, "image_size": 32, "augment": AUGMENT}
    return BoxFolderSettings.model_validate(settings | changes)


def spoiled(root, **changes):
    """A data set in which the annotation of the fourth training image is changed."""

    def change(split, content):
        if split == "train":
            content["annotations"][3].update(changes)

    write_coco(root, change)
    return build_datasets(folder(root)).train


def corners(dataset, index):
    """The boxes of an image in pixels, before any transform."""
    height, width = dataset.sizes[index].tolist()
    boxes = dataset.target(index, (height, width)).boxes
    return (boxes * torch.tensor([width, height, width, height])).round(decimals=4).tolist()


def test_shapes_have_every_class_some_overlap_some_touch_the_border_and_some_are_empty(tmp_path):
    train = build_datasets(shapes(tmp_path, train_images=100)).train
    images = [train.target(index, (64, 64)).boxes.tolist() for index in range(len(train))]
    assert set(train.labels.tolist()) == set(range(5))
    assert [] in images
    assert (train.boxes == 0).any()
    assert (train.boxes == 1).any()
    assert any(map(_overlap, images))


def _overlap(boxes):
    return any(
        max(first[0], second[0]) < min(first[2], second[2])
        and max(first[1], second[1]) < min(first[3], second[3])
        for first, second in combinations(boxes, 2)
    )


def test_shapes_are_the_same_every_time(tmp_path):
    first = build_datasets(shapes(tmp_path / "a")).val
    second = build_datasets(shapes(tmp_path / "b")).val
    for index in range(len(first)):
        assert torch.equal(first[index].image, second[index].image)
        assert torch.equal(first[index].target.boxes, second[index].target.boxes)


def test_boxes_are_relative_to_the_model_input(own_data):
    dataset = build_datasets(folder(own_data)).val
    image, target, position = dataset[2]
    assert (image.dtype, image.shape, position) == (torch.uint8, (3, 32, 32), 2)
    # Of the 32 rows of the input, the image has 26, below 3 rows of padding.
    top, bottom = ((edge / 40 * 26 + 3) / 32 for edge in (6, 22))
    torch.testing.assert_close(target.boxes, torch.tensor([[6 / 48, top, 26 / 48, bottom]]))
    assert target.labels.tolist() == [0]
    assert target.areas.tolist() == pytest.approx([20 * 16])
    assert target.size == (40, 48)


def test_a_box_beyond_the_border_is_cut_off_and_noted(tmp_path):
    def change(split, content):
        if split == "train":
            content["annotations"][3]["bbox"] = [-5, 10, 100, 12]

    write_coco(tmp_path, change)
    datasets = build_datasets(folder(tmp_path))
    assert corners(datasets.train, 3) == [[0, 10, 48, 22]]
    (note,) = datasets.reading.notes
    cut = "In train: Boxes that extend beyond their image and were cut off: 1 of 10"
    assert note.startswith(cut)
    assert f"the first in {tmp_path}/train/3.jpg: annotation 1003: the box is beyond" in note


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [([3, 3, 0, 5], "no area"), ([3, 3, 5, -1], "no area"), ([60, 3, 5, 5], "outside of")],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_box_without_area_is_left_out_and_counted(tmp_path, bbox, reason, split):
    def change(name, content):
        if name == split:
            content["annotations"][3]["bbox"] = bbox

    write_coco(tmp_path, change)
    datasets = build_datasets(folder(tmp_path))
    assert corners(getattr(datasets, split), 3) == []
    (part,) = datasets.reading.left_out
    assert (part.kind, part.split, part.count) == ("objects", split, 1)
    assert reason in part.reason
    assert sum(datasets.reading.objects[split].values()) == 9


def test_a_repeated_object_is_left_out_and_counted(tmp_path):
    def change(split, content):
        first = content["annotations"][0]
        content["annotations"] += [
            first | {"id": 1, "score": 0.5},
            first | {"id": 2, "category_id": 90},
            first | {"id": 3, "bbox": [4, 6, 20, 15]},
        ]

    write_coco(tmp_path, lambda split, content: split == "val" and change(split, content))
    datasets = build_datasets(folder(tmp_path))
    assert datasets.val.target(0, (40, 48)).labels.tolist() == [0, 1, 0]
    (part,) = datasets.reading.left_out
    assert (part.kind, part.reason, part.split, part.count) == ("objects", "repeated", "val", 1)


@pytest.mark.parametrize("area", [None, 0, -3, float("nan"), float("inf")])
def test_an_area_that_is_no_area_is_that_of_the_box(tmp_path, area):
    train = spoiled(tmp_path, area=area)
    assert (train.areas * 40 * 48).tolist() == pytest.approx([20 * 16] * 10)


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], [1, 2, 3, "x"], [1, 2, 3, float("nan")]])
def test_a_box_that_is_not_four_numbers_is_named(tmp_path, bbox):
    with pytest.raises(UsageError, match=r"train\.json: annotations\[3\]\.bbox"):
        spoiled(tmp_path, bbox=bbox)


def test_a_box_may_be_written_as_texts(tmp_path):
    write_coco(tmp_path / "numbers")
    expected = build_datasets(folder(tmp_path / "numbers")).train.boxes
    bbox = [*map(str, (7, 6, 20, 16))]
    assert spoiled(tmp_path / "texts", bbox=bbox).boxes.tolist() == expected.tolist()


def test_boxes_that_are_two_corners_are_refused_by_their_areas_and_else_noted(tmp_path):
    def write(**changes):
        def change(_, content):
            for entry in content["annotations"]:
                entry.update(changes)

        write_coco(tmp_path / str(changes), change)
        notes = build_datasets(folder(tmp_path / str(changes))).reading.notes
        return [note for note in notes if " may be " in note]

    message = r"each box may be two corners, such as \[4.0, 6.0, 24.0, 22.0\], whose area is given"
    with pytest.raises(UsageError, match=message):
        write(bbox=[4, 6, 24, 22], area=320)
    assert write(bbox=[4, 6, 24, 22], area=24 * 22) == []
    assert write(bbox=[4, 6, 3, 22], area=None) == []
    notes = write(bbox=[4, 6, 24, 22], area=None)
    assert [note.partition(" may be ")[0].rpartition("/")[2] for note in notes] == [
        f"{split}.json: each box" for split in ("train", "val", "test")
    ]


@pytest.mark.parametrize(
    ("bbox", "outline", "noted"),
    [
        ([20, 20, 10, 8], "polygons", False),
        ([19, 19, 12, 10], "polygons", False),  # rounded outwards
        ([25, 24, 10, 8], "polygons", True),  # around a centre
        ([20, 20, 30, 28], "polygons", True),  # two corners
        ([14, 14, 20, 16], [["a", "b"]], False),
        ([14, 14, 20, 16], None, False),
    ],
)
def test_boxes_that_contradict_the_outlines_are_noted(tmp_path, bbox, outline, noted):
    polygons = [[20, 20, 30, 20, 20, 28], [30, 22, 30, 28, 25, 26]]

    def change(split, content):
        if split == "train":
            for entry in content["annotations"][:3]:
                entry["segmentation"] = polygons if outline == "polygons" else outline
            for entry in content["annotations"][:2]:
                entry["bbox"] = bbox
            content["annotations"][2]["bbox"] = [20, 20, 10, 8]

    write_coco(tmp_path, change)
    notes = build_datasets(folder(tmp_path)).reading.notes
    expected = (
        f"{tmp_path}/annotations/train.json: rectangles that are not around the outline of their "
        "object: 2 of 3 that were compared, such as annotation 1000: "
        f"{[*map(float, bbox)]} instead of [20, 20, 10, 8]."
    )
    assert [note.startswith(expected) for note in notes if "outline" in note] == [True] * noted


def test_a_crowd_is_a_target_of_validation_but_not_of_training(tmp_path):
    def change(split, content):
        content["annotations"][3]["iscrowd"] = 1

    write_coco(tmp_path, change)
    datasets = build_datasets(folder(tmp_path))
    assert len(datasets.train[3].target.boxes) == 0
    assert datasets.val[3].target.crowd.tolist() == [True]


def test_an_image_whose_size_differs_from_its_annotations_is_named(tmp_path):
    write_coco(tmp_path, lambda split, content: content["images"][0].update(width=40, height=48))
    datasets = build_datasets(folder(tmp_path))
    module = DataModule(datasets, loader_settings(batch_size=5, workers=0), skip_unreadable=False)
    with pytest.raises(UsageError, match=r"0\.jpg cannot be read: it is 48 x 40 pixels, but"):
        [module.on_before_batch_transfer(batch, 0) for batch in module.val_dataloader()]


def test_a_batch_keeps_images_without_objects(tmp_path):
    write_coco(tmp_path, lambda split, content: content["annotations"].pop(0))
    dataset = build_datasets(folder(tmp_path)).val
    batch = collate([dataset[0], dataset[1]])
    assert batch.images.shape == (2, 3, 32, 32)
    assert [len(target.boxes) for target in batch.targets] == [0, 1]


def white_box(left, top, right, bottom, size=96):
    """A white box on a black background, and the same box as a target."""
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    image[:, top:bottom, left:right] = 255
    box = torch.tensor([[left, top, right, bottom]]) / size
    nothing = torch.zeros(1)
    target = Target(box, nothing.long(), nothing.bool(), nothing, (size, size))
    return image, target


def box_around_white(image):
    """The box around the white pixels, in pixels."""
    rows, columns = (torch.nonzero((image[0] > WHITE).any(dim=axis)).flatten() for axis in (1, 0))
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


WHITE = 160  # brighter than the padding
EDGE = st.integers(28, 46)
TRANSFORMS = {
    "flip": v2.RandomHorizontalFlip(1.0),
    "crop": v2.RandomCrop(72),
    "resize": v2.Resize((64, 128), antialias=True),
    "rotate": v2.RandomRotation(45, interpolation=v2.InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@with_settings(deadline=None, max_examples=40)
@given(
    left=EDGE,
    top=EDGE,
    width=st.integers(4, 20),
    height=st.integers(4, 20),
    seed=st.integers(0, 999),
)
def test_a_box_and_its_object_are_transformed_in_the_same_way(name, left, top, width, height, seed):
    image, target = white_box(left, top, left + width, top + height)
    torch.manual_seed(seed)
    moved, target = OnBoxes(TRANSFORMS[name])(image, target)
    scale = torch.tensor([moved.shape[2], moved.shape[1]] * 2)
    difference = target.boxes[0] * scale - box_around_white(moved)
    assert difference.abs().max() <= 2.0


@pytest.mark.parametrize(("left", "kept"), [(9, 0), (11, 1)])
def test_an_object_is_trained_on_if_a_crop_shows_three_tenths_of_its_box(left, kept):
    image, target = white_box(left, 30, left + 20, 60)
    _, target = OnBoxes(v2.CenterCrop(48))(image, target)  # from the column 24: 5 or 7 of 20
    assert len(target.boxes) == kept


@with_settings(deadline=None, max_examples=60)
@given(
    left=st.integers(0, 60),
    top=st.integers(0, 60),
    side=st.integers(12, 36),
    height=st.sampled_from([96, 48]),
    seed=st.integers(0, 999),
)
def test_a_training_target_is_the_box_of_the_visible_part_of_the_object(
    left, top, side, height, seed
):
    """Without rotation, whose boxes also surround parts of the object that are outside."""
    top = top * height // 96
    bottom = min(top + side, height)
    image, target = white_box(left, top, left + side, bottom)
    image = image[:, :height]  # wide images are padded
    target = target._replace(boxes=target.boxes * torch.tensor([1, 96 / height] * 2))
    still = AUGMENT | {"rotate": 0, "color": 0.0}
    torch.manual_seed(seed)
    moved, target = train_transform(shapes("x", augment=still))(image, target)
    if len(target.boxes):
        assert (target.boxes[0] * 64 - box_around_white(moved)).abs().max() <= 2.0
    else:
        white = (moved > WHITE).float().mean() * 96 / height  # without the padding
        assert white < 0.6 * side * (bottom - top) / (96 * height) + 0.02
