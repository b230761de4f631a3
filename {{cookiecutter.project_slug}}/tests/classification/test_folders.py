import shutil

import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.classification.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.classification import ImageFolderSettings
from {{ cookiecutter.package_name }}.settings.data import ShapesSettings
from {{ cookiecutter.package_name }}.settings.tree import LoaderSettings

from small import data_preset

AUGMENT = {"crop_scale": 0.5, "flip": 0.5, "color": 0.2}


def shapes(root, **changes):
    settings = data_preset("shapes") | {
        "root": root,
        "image_size": 32,
        "train_images": 15,
        "val_images": 10,
        "test_images": 10,
        "augment": AUGMENT,
    }
    return ShapesSettings.model_validate(settings | changes)


def folder(root, **changes):
    settings = data_preset("imagefolder") | {
        "root": root,
        "image_size": 32,
        "split": [0.6, 0.2, 0.2],
        "augment": AUGMENT,
    }
    return ImageFolderSettings.model_validate(settings | changes)


def paths(dataset):
    return set(dataset.paths.tolist())


def test_shapes_are_the_same_every_time(tmp_path):
    first = build_datasets(shapes(tmp_path / "a")).val
    second = build_datasets(shapes(tmp_path / "b")).val
    assert all(torch.equal(first[i].image, second[i].image) for i in range(len(first)))


def test_shapes_have_every_class_in_every_split(tmp_path):
    datasets = build_datasets(shapes(tmp_path))
    splits = (datasets.train, datasets.val, datasets.test)
    assert [len(dataset) for dataset in splits] == [15, 10, 10]
    assert len(datasets.classes) == 5
    for dataset in splits:
        assert set(dataset.targets.tolist()) == set(range(5))


def test_shapes_are_drawn_once(tmp_path):
    build_datasets(shapes(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    build_datasets(shapes(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before


def test_a_drawing_that_was_interrupted_is_repeated(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            build_datasets(shapes(tmp_path))
    assert len(build_datasets(shapes(tmp_path)).train) == 15


def test_a_batch_stacks_square_8_bit_images(own_data):
    datasets = build_datasets(folder(own_data))
    for dataset in (datasets.train, datasets.val):
        batch = collate([dataset[0], dataset[len(dataset) - 1]])
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (2, 3, 32, 32)
        assert batch.targets.tolist() == [0, 1]
        assert batch.positions.tolist() == [0, len(dataset) - 1]


def test_bare_class_folders_are_split_by_class_and_seed(own_data):
    datasets = build_datasets(folder(own_data))
    splits = [datasets.train, datasets.val, datasets.test]
    assert [dataset.targets.tolist().count(0) for dataset in splits] == [6, 2, 2]
    assert [dataset.targets.tolist().count(1) for dataset in splits] == [6, 2, 2]
    assert len(set().union(*map(paths, splits))) == 20
    again = build_datasets(folder(own_data))
    other = build_datasets(folder(own_data, split_seed=1))
    assert paths(again.val) == paths(datasets.val)
    assert paths(other.val) != paths(datasets.val)


def split(root):
    for name in ("train", "val", "test"):
        (root / name).mkdir()
        for label in ("blue", "red"):
            shutil.copytree(root / label, root / name / label)
    shutil.rmtree(root / "blue")
    shutil.rmtree(root / "red")


def test_existing_splits_are_taken_as_they_are(own_data):
    split(own_data)
    datasets = build_datasets(folder(own_data))
    assert all(str(own_data / "val") in path for path in paths(datasets.val))
    assert len(datasets.train) == 20


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        build_datasets(folder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root / "val"), r"has train/, test/, but not val/"),
        (
            lambda root: (root / "val" / "red").rename(root / "val" / "rot"),
            r"Only in val: rot\. Only in train: red",
        ),
    ],
    ids=["a missing split", "different classes"],
)
def test_incomplete_splits_are_named(own_data, change, message):
    split(own_data)
    change(own_data)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(own_data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "green").mkdir(), "green has no images"),
        (lambda root: shutil.rmtree(root / "red"), "1 class folders, but there must be two"),
    ],
    ids=["an empty class", "a single class"],
)
def test_classes_that_cannot_be_split_are_named(own_data, change, message):
    change(own_data)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(own_data))


@pytest.fixture
def loader_with_a_broken_image(own_data):
    """The validation images of a folder in which one is broken, as the training gets them."""
    split(own_data)
    (own_data / "val" / "blue" / "0.jpg").write_bytes(b"no image")

    def load(*, batch_size, skip_unreadable, workers=0):
        datasets = build_datasets(folder(own_data))
        settings = LoaderSettings(batch_size=batch_size, workers=workers)
        module = DataModule(datasets, settings, skip_unreadable=skip_unreadable)
        batches = [module.on_before_batch_transfer(batch, 0) for batch in module.val_dataloader()]
        return module, batches

    return load


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(loader_with_a_broken_image, workers):
    with pytest.raises(UnreadableImageError, match=r"0\.jpg cannot be read: cannot"):
        loader_with_a_broken_image(batch_size=4, skip_unreadable=False, workers=workers)


def test_unreadable_images_can_be_left_out_and_are_listed(loader_with_a_broken_image):
    module, batches = loader_with_a_broken_image(batch_size=4, skip_unreadable=True)
    assert [len(batch.images) for batch in batches] == [3, 4, 4, 4, 4]
    assert [path.endswith("0.jpg") for path in module.unreadable] == [True]


def test_a_whole_batch_of_unreadable_images_is_refused(loader_with_a_broken_image, own_data):
    (own_data / "val" / "blue" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match="whole batch of images is unreadable"):
        loader_with_a_broken_image(batch_size=2, skip_unreadable=True)
