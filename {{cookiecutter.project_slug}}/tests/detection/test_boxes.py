import pytest
import torch
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.detection.boxes import Target
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.detection.transforms import OnBoxes, train_transform
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.data import ShapesSettings
from {{ cookiecutter.package_name }}.settings.detection import BoxFolderSettings
from {{ cookiecutter.package_name }}.settings.tree import LoaderSettings

from coco_data import write_coco
from small import data_preset

AUGMENT = {"crop_scale": 0.5, "flip": 0.5, "rotate": 20, "color": 0.2}


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
    settings = data_preset("coco") | {
        "root": root,
        "image_size": 32,
        "augment": AUGMENT,
    }
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
    record = dataset.record(index)
    height, width = record.size
    return (record.boxes * [width, height, width, height]).round(4).tolist()


def test_shapes_have_every_class_some_overlap_some_touch_the_border_and_some_are_empty(tmp_path):
    train = build_datasets(shapes(tmp_path, train_images=100)).train
    records = [train.record(index) for index in range(len(train))]
    assert set(train.labels.tolist()) == set(range(5))
    assert any(len(record.boxes) == 0 for record in records)
    assert (train.boxes == 0).any()
    assert (train.boxes == 1).any()
    assert any(_overlap(record.boxes) for record in records)


def _overlap(boxes):
    return any(
        max(one[0], two[0]) < min(one[2], two[2]) and max(one[1], two[1]) < min(one[3], two[3])
        for index, one in enumerate(boxes)
        for two in boxes[index + 1 :]
    )


def test_shapes_are_the_same_every_time(tmp_path):
    first = build_datasets(shapes(tmp_path / "a")).val
    second = build_datasets(shapes(tmp_path / "b")).val
    for index in range(len(first)):
        assert torch.equal(first[index].image, second[index].image)
        assert torch.equal(first[index].target.boxes, second[index].target.boxes)


def test_boxes_are_shares_of_the_image(own_data):
    dataset = build_datasets(folder(own_data)).val
    image, target, position = dataset[2]
    assert (image.dtype, image.shape, position) == (torch.uint8, (3, 32, 32), 2)
    torch.testing.assert_close(target.boxes, torch.tensor([[6 / 48, 6 / 40, 26 / 48, 22 / 40]]))
    assert target.labels.tolist() == [0]
    assert target.areas.tolist() == pytest.approx([20 * 16])
    assert target.size == (40, 48)


def test_a_box_beyond_the_border_is_cut_off(tmp_path):
    dataset = spoiled(tmp_path, bbox=[-5, 10, 100, 12])
    assert corners(dataset, 3) == [[0, 10, 48, 22]]


@pytest.mark.parametrize("bbox", [[3, 3, 0, 5], [3, 3, 5, -1], [60, 3, 5, 5]])
def test_a_box_of_no_area_is_left_out_and_counted(tmp_path, caplog, bbox):
    caplog.set_level("INFO")
    dataset = spoiled(tmp_path, bbox=bbox)
    assert corners(dataset, 3) == []
    assert "1 boxes have no area" in caplog.text
    assert "annotation 1003" in caplog.text


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, float("nan")]])
def test_a_box_that_is_not_four_numbers_is_named(tmp_path, bbox):
    with pytest.raises(UsageError, match=r"train\.json: annotation 1003 has the bbox"):
        spoiled(tmp_path, bbox=bbox)


def test_a_crowd_is_not_trained_on_but_known_when_measured(tmp_path):
    def change(split, content):
        content["annotations"][3]["iscrowd"] = 1

    write_coco(tmp_path, change)
    datasets = build_datasets(folder(tmp_path))
    assert len(datasets.train[3].target.boxes) == 0
    assert datasets.val[3].target.crowd.tolist() == [True]


def test_an_image_of_another_size_than_its_annotations_say_is_named(tmp_path):
    write_coco(tmp_path, lambda split, content: content["images"][0].update(width=40, height=48))
    datasets = build_datasets(folder(tmp_path))
    module = DataModule(datasets, LoaderSettings(batch_size=5, workers=0), skip_unreadable=False)
    with pytest.raises(UsageError, match=r"0\.jpg cannot be read: it is 48 x 40 pixels, but"):
        [module.on_before_batch_transfer(batch, 0) for batch in module.val_dataloader()]


def test_a_batch_keeps_images_without_objects(tmp_path):
    write_coco(tmp_path, lambda split, content: content["annotations"].pop(0))
    dataset = build_datasets(folder(tmp_path)).val
    batch = collate([dataset[0], dataset[1]])
    assert batch.images.shape == (2, 3, 32, 32)
    assert [len(target.boxes) for target in batch.targets] == [0, 1]


def painted(left, top, right, bottom, size=96):
    """A white box on black ground, and the same box as a target."""
    image = torch.zeros(3, size, size, dtype=torch.uint8)
    image[:, top:bottom, left:right] = 255
    box = torch.tensor([[left, top, right, bottom]]) / size
    nothing = torch.zeros(1)
    target = Target(box, nothing.long(), nothing.bool(), nothing, (size, size))
    return image, target


def around_white(image):
    """The box around what is white, in pixels."""
    rows, columns = (torch.nonzero((image[0] > 127).any(dim=axis)).flatten() for axis in (1, 0))
    return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


EDGE = st.integers(28, 46)
MOVES = {
    "flip": v2.RandomHorizontalFlip(1.0),
    "crop": v2.RandomCrop(72),
    "resize": v2.Resize((64, 128), antialias=True),
    "rotate": v2.RandomRotation(45, interpolation=v2.InterpolationMode.BILINEAR),
}


@pytest.mark.parametrize("move", MOVES)
@with_settings(deadline=None, max_examples=40)
@given(
    left=EDGE,
    top=EDGE,
    width=st.integers(4, 20),
    height=st.integers(4, 20),
    seed=st.integers(0, 999),
)
def test_the_moved_box_is_the_box_of_what_moved(move, left, top, width, height, seed):
    image, target = painted(left, top, left + width, top + height)
    torch.manual_seed(seed)
    moved, kept = OnBoxes(MOVES[move])(image, target)
    scale = torch.tensor([moved.shape[2], moved.shape[1]] * 2)
    difference = kept.boxes[0] * scale - around_white(moved)
    assert difference.abs().max() <= 2.0


@with_settings(deadline=None, max_examples=60)
@given(
    left=st.integers(0, 60),
    top=st.integers(0, 60),
    side=st.integers(12, 36),
    seed=st.integers(0, 999),
)
def test_what_training_sees_of_an_object_is_what_its_box_says(left, top, side, seed):
    """The whole chain but for rotation, which leaves a box larger than a part that is cut off."""
    image, target = painted(left, top, left + side, top + side)
    still = {"crop_scale": 0.5, "flip": 0.5, "rotate": 0, "color": 0.0}
    torch.manual_seed(seed)
    moved, kept = train_transform(shapes("x", augment=still))(image, target)
    if len(kept.boxes):
        assert (kept.boxes[0] * 64 - around_white(moved)).abs().max() <= 2.0
    else:
        assert (moved > 127).float().mean() < 0.05


def test_a_flip_is_the_same_for_both():
    image, target = painted(10, 20, 30, 40)
    moved, kept = OnBoxes(v2.RandomHorizontalFlip(1.0))(image, target)
    assert torch.equal(moved, functional.horizontal_flip(image))
    torch.testing.assert_close(kept.boxes * 96, torch.tensor([[66.0, 20.0, 86.0, 40.0]]))
