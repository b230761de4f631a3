import random
import shutil

import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.classification.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.classification.settings import (
    ImageFolderSettings,
    ShapesSettings,
)
from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.errors import UsageError

AUGMENT = {"crop_scale": 0.5, "flip": 0.5, "color": 0.2}


def shapes(root, **changes):
    settings = {
        "name": "shapes",
        "root": root,
        "image_size": 32,
        "train_images": 15,
        "val_images": 10,
        "test_images": 10,
        "skip_unreadable": False,
        "augment": AUGMENT,
    }
    return ShapesSettings.model_validate(settings | changes)


def folder(root, **changes):
    settings = {
        "name": "imagefolder",
        "root": root,
        "image_size": 32,
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "split_seed": 0,
        "skip_unreadable": False,
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
    assert [len(part) for part in (datasets.train, datasets.val, datasets.test)] == [15, 10, 10]
    assert len(datasets.classes) == 5
    for part in (datasets.train, datasets.val, datasets.test):
        assert set(part.targets.tolist()) == set(range(5))


def test_shapes_are_drawn_once(tmp_path):
    build_datasets(shapes(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    build_datasets(shapes(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before


def test_shapes_that_broke_off_are_not_taken_for_whole(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            build_datasets(shapes(tmp_path))
    assert len(build_datasets(shapes(tmp_path)).train) == 15


def test_samples_are_square_8_bit_images(tmp_path, image_folder):
    datasets = build_datasets(folder(image_folder))
    for part in (datasets.train, datasets.val):
        image, target, position = part[1]
        assert image.dtype == torch.uint8
        assert image.shape == (3, 32, 32)
        assert (target, position) == (0, 1)


def test_a_batch_stacks_samples(image_folder):
    dataset = build_datasets(folder(image_folder)).val
    batch = collate([dataset[0], dataset[3]])
    assert batch.images.shape == (2, 3, 32, 32)
    assert batch.targets.tolist() == [0, 1]
    assert batch.positions.tolist() == [0, 3]


def test_bare_class_folders_are_split_by_class_and_seed(image_folder):
    datasets = build_datasets(folder(image_folder))
    parts = [datasets.train, datasets.val, datasets.test]
    assert [part.targets.tolist().count(0) for part in parts] == [6, 2, 2]
    assert [part.targets.tolist().count(1) for part in parts] == [6, 2, 2]
    assert len(paths(parts[0]) | paths(parts[1]) | paths(parts[2])) == 20
    again = build_datasets(folder(image_folder))
    other = build_datasets(folder(image_folder, split_seed=1))
    assert paths(again.val) == paths(datasets.val)
    assert paths(other.val) != paths(datasets.val)


def split(root):
    for name in ("train", "val", "test"):
        (root / name).mkdir()
        for label in ("blue", "red"):
            shutil.copytree(root / label, root / name / label)
    shutil.rmtree(root / "blue")
    shutil.rmtree(root / "red")


def test_existing_splits_are_taken_as_they_are(image_folder):
    split(image_folder)
    datasets = build_datasets(folder(image_folder))
    assert all(str(image_folder / "val") in path for path in paths(datasets.val))
    assert len(datasets.train) == 20


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        build_datasets(folder(tmp_path / "nowhere"))


def test_a_missing_split_is_named(image_folder):
    split(image_folder)
    shutil.rmtree(image_folder / "val")
    with pytest.raises(UsageError, match=r"has train/, test/, but not val/"):
        build_datasets(folder(image_folder))


def test_class_folders_that_differ_between_splits_are_named(image_folder):
    split(image_folder)
    (image_folder / "val" / "red").rename(image_folder / "val" / "rot")
    with pytest.raises(UsageError, match=r"Only in val: rot\. Only in train: red"):
        build_datasets(folder(image_folder))


def test_an_empty_class_is_named(image_folder):
    (image_folder / "green").mkdir()
    with pytest.raises(UsageError, match="green has no image"):
        build_datasets(folder(image_folder))


def test_a_single_class_is_refused(image_folder):
    shutil.rmtree(image_folder / "red")
    with pytest.raises(UsageError, match="1 class folders, but there must be two"):
        build_datasets(folder(image_folder))


def test_a_class_too_small_to_split_is_named(image_folder):
    for path in sorted((image_folder / "red").iterdir())[2:]:
        path.unlink()
    with pytest.raises(UsageError, match="red has 2 images, too few"):
        build_datasets(folder(image_folder))


def test_an_unreadable_image_is_named(image_folder):
    split(image_folder)
    broken = image_folder / "val" / "blue" / "0.jpg"
    broken.write_bytes(b"no image")
    dataset = build_datasets(folder(image_folder)).val
    with pytest.raises(UnreadableImageError, match=r"0\.jpg cannot be read"):
        dataset[0]


def test_unreadable_images_can_be_left_out_and_are_listed(image_folder):
    split(image_folder)
    broken = image_folder / "val" / "blue" / "0.jpg"
    broken.write_bytes(b"no image")
    dataset = build_datasets(folder(image_folder, skip_unreadable=True)).val
    batch = collate([dataset[0], dataset[1]])
    assert batch.unreadable == [str(broken)]
    assert batch.positions.tolist() == [1]


def test_a_batch_of_unreadable_images_is_refused():
    with pytest.raises(UsageError, match="whole batch"):
        collate([f"{random.random()}.jpg"])
