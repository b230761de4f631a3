import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.classification.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.data.check_datasets import check_learnable
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.data.split import SPLITS
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.settings.classification import ImageFolderSettings
from {{ cookiecutter.package_name }}.settings.data import ShapesSettings

from small import data_preset, loader_settings

AUGMENT = data_preset("shapes")["augment"] | {"crop_scale": 0.5, "flip": 0.5, "color": 0.2}


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


def test_a_missing_folder_is_named(tmp_path):
    (tmp_path / "labels.csv").touch()
    with pytest.raises(UsageError, match=r"labels\.csv is a file, not a folder.\nName its folder"):
        build_datasets(folder(tmp_path / "labels.csv"))
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        build_datasets(folder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda root: (root / "val" / "red").rename(root / "val" / "rot"),
            r"val has class folders that are not in train: rot\.\nThose of train are blue, red",
        ),
        (
            lambda root: [(root / name).rename(root / f"fold_{name}") for name in SPLITS],
            "hold the folders blue, red: they look like splits, not like classes",
        ),
        (
            lambda root: (
                [(root / name).rename(root / f"{name}_set") for name in SPLITS]
                + [shutil.rmtree(root / "val_set" / "red")]
            ),
            "test_set, train_set, val_set, .* blue, red: they look like splits, not like classes",
        ),
        (
            lambda root: (
                [(root / name).rename(root / f"fold_{name}") for name in SPLITS]
                + [shutil.copytree(root / "fold_train" / "red", root / "fold_train" / "rose")]
            ),
            "fold_val, .* blue, red, rose: they look like splits, not like classes",
        ),
        (
            lambda root: (
                [(root / name).rename(root / f"fold{place}") for place, name in enumerate(SPLITS)]
                + [shutil.rmtree(root / "fold0" / "red"), shutil.rmtree(root / "fold1" / "blue")]
            ),
            "fold0, fold1, fold2, .*: they look like splits, not like classes",
        ),
        (
            lambda root: (
                shutil.rmtree(root / "val"),
                (root / "train").rename(root / "Trainingsdaten"),
                (root / "test").rename(root / "Testdaten"),
                (root / "Testdaten" / "red").rename(root / "Testdaten" / "rose"),
            ),
            "Testdaten, Trainingsdaten, .*: they look like splits, not like classes",
        ),
        (
            lambda root: (
                [shutil.move(root / name, root / "train" / name) for name in ("val", "test")]
                + [shutil.rmtree(root / "train" / name) for name in ("blue", "red")]
            ),
            r"would be test, val, which are splits\.\n.*data\.root=.*train",
        ),
        (lambda root: [path.unlink() for path in (root / "train" / "red").iterdir()], "no images"),
        (
            lambda root: (
                [path.rename(path.parents[1] / path.name) for path in root.glob("*/*/*")]
                + [path.rmdir() for path in root.glob("*/*/")]
            ),
            "has the splits train, val, test, but no folders of classes in them",
        ),
    ],
    ids=[
        "different classes",
        "splits of other names",
        "splits of other names without a class",
        "splits of other names with a further class",
        "folds of other classes",
        "splits of other names and classes",
        "splits in a folder named after a split",
        "a class without training images",
        "no classes",
    ],
)
def test_incomplete_splits_are_named(own_data, change, message):
    split(own_data)
    change(own_data)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(own_data))


def test_splits_are_found_by_their_usual_names_and_hidden_files_are_no_images(own_data):
    split(own_data)
    for name, usual in {"train": "Training", "val": "valid", "test": "Testing"}.items():
        (own_data / name).rename(own_data / usual)
    hidden = own_data / "Training" / "red" / ".ipynb_checkpoints"
    shutil.copytree(own_data / "Training" / "blue", hidden)
    shutil.copytree(own_data / "Training", own_data / "__MACOSX")
    datasets = build_datasets(folder(own_data))
    assert datasets.classes == ["blue", "red"]
    for dataset, usual in [
        (datasets.train, "Training"), (datasets.val, "valid"), (datasets.test, "Testing"),
    ]:  # fmt: skip
        assert {Path(path).relative_to(own_data).parts[0] for path in paths(dataset)} == {usual}
        assert np.bincount(dataset.targets).tolist() == [10, 10]


def test_without_test_images_those_of_validation_are_tested(own_data):
    split(own_data)
    shutil.rmtree(own_data / "test")
    datasets = build_datasets(folder(own_data))
    assert paths(datasets.test) == paths(datasets.val)
    assert len(datasets.val) == 20
    assert any("test" in note for note in datasets.reading.notes)


def test_a_folder_of_other_images_beside_the_training_images_is_left_out_and_counted(own_data):
    split(own_data)
    shutil.rmtree(own_data / "val")
    (own_data / "test" / "red").rename(own_data / "unlabelled")
    shutil.rmtree(own_data / "test")
    (own_data / "unlabelled").rename(own_data / "test")
    datasets = build_datasets(folder(own_data))
    assert datasets.classes == ["blue", "red"]
    used = paths(datasets.train) | paths(datasets.val) | paths(datasets.test)
    assert {Path(path).relative_to(own_data).parts[0] for path in used} == {"train"}
    assert [(part.count, part.reason) for part in datasets.reading.left_out] == [
        (10, "in no class folder of a split")
    ]


def test_without_validation_images_a_part_of_each_class_of_train_is_used(own_data):
    split(own_data)
    shutil.rmtree(own_data / "val")
    datasets = build_datasets(folder(own_data))
    assert not paths(datasets.train) & paths(datasets.val)
    assert len(paths(datasets.train) | paths(datasets.val)) == 20
    assert np.bincount(datasets.val.targets).min() > 0
    assert all("test" in Path(path).parts for path in paths(datasets.test))


def fill(root, *folders):
    """Write four images into each folder."""
    for place, name in enumerate(folders):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            Image.new("L", (8, 8), 4 * place + number).save(root / name / f"{number}.png")


ONE_TREE = [f"seg_{part}/seg_{part}/{name}" for part in ("train", "test") for name in "ab"]
LOOK = "they look like splits, not like classes"


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([*ONE_TREE, "seg_pred/seg_pred"], f"which hold the folders a, b: {LOOK}"),
        (["train_data/a", "train_data/b", "test_data/a", "prediction"], f"a, b: {LOOK}"),
        ([f"{part}/{name}" for part in ("lernen", "messen") for name in "ab"] + ["roh"], LOOK),
        ([f"{part}/{part}/{name}" for part in "ABC" for name in "ab"], f"A, B, C, .* a, b: {LOOK}"),
        (
            ["cat/train", "cat/test", "dog/train"],
            "cat holds the splits test, train, but .*\n.* if cat is a class, .*: test/cat",
        ),
        (
            ["set/train/a", "set/train/b", "set/val/a", "notes"],
            "set holds the splits train, val, but .*\nTo read them alone: data.root=.*/set;",
        ),
        (
            ["train/train_set/a", "train/train_set/b", "test/test_set/a", "test/test_set/b"],
            "has 1.\nMove the folders in .*/train/train_set into .*/train, and those of the other",
        ),
        (["train/a", "train/b", "test/unknown"], "or move folders of images without a class away"),
    ],
    ids=[
        "doubled folders and other images",
        "words for splits and other images",
        "other words and other images",
        "doubled folders of any names",
        "splits in each class",
        "splits beside another folder",
        "doubled folders in splits",
        "images without a class",
    ],
)
def test_folders_that_look_like_splits_are_no_classes(tmp_path, folders, message):
    fill(tmp_path, *folders)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(tmp_path))


def test_a_folder_of_all_images_is_no_class(own_data):
    (own_data / "red").rename(own_data / "Images")
    expected = rf"Images would be a class.*\n.* data\.root={own_data}/Images;"
    with pytest.raises(UsageError, match=expected):
        build_datasets(folder(own_data))


def test_a_few_classes_may_hold_folders_of_the_same_names(tmp_path):
    fill(tmp_path, "cat/day", "cat/night", "dog/day", "dog/night", "bee", "cow", "emu")
    datasets = build_datasets(folder(tmp_path))
    assert datasets.classes == ["bee", "cat", "cow", "dog", "emu"]
    parts = (datasets.train, datasets.val, datasets.test)
    assert sum(np.bincount(part.targets, minlength=5) for part in parts).tolist() == [4, 8, 4, 8, 4]
    assert any("not those in them, such as day, night." in note for note in datasets.reading.notes)


def test_a_class_without_images_in_val_is_noted(own_data):
    split(own_data)
    shutil.rmtree(own_data / "val" / "blue")
    datasets = build_datasets(folder(own_data))
    check_learnable(datasets.reading)
    assert datasets.val.targets.tolist() == [1] * 10
    assert datasets.reading.notes == ["val has no images of blue: their metrics are undefined."]


def test_classes_may_have_folders_of_their_own(own_data):
    for label, part in (("blue", "light"), ("blue", "dark"), ("red", "light")):
        (own_data / label / part).mkdir()
        shutil.copy(own_data / label / "0.jpg", own_data / label / part)
    for path in own_data.glob("*/*.jpg"):
        path.rename(path.parent / "light" / path.name)
    datasets = build_datasets(folder(own_data))
    assert datasets.classes == ["blue", "red"]
    assert len(datasets.train) + len(datasets.val) + len(datasets.test) == 21
    note = f"The classes are the folders of {own_data}, blue, red, not those in them, such as dark,"
    assert any(line.startswith(note) for line in datasets.reading.notes)


def test_class_folders_match_in_any_unicode_form(own_data):
    split(own_data)
    for name, form in (("train", "b\u00fcndel"), ("val", "bu\u0308ndel"), ("test", "b\u00fcndel")):
        (own_data / name / "blue").rename(own_data / name / form)
    datasets = build_datasets(folder(own_data))
    assert datasets.classes == ["b\u00fcndel", "red"]
    assert datasets.val.targets.tolist() == [0] * 10 + [1] * 10


def test_a_class_whose_name_is_not_utf_8_is_refused(own_data):
    (own_data / "red").rename(own_data / "r\udcf6d")
    with pytest.raises(UsageError, match=r"rename r\\udcf6d, a name that is not UTF-8"):
        build_datasets(folder(own_data))


@pytest.mark.parametrize("other", ["b\u00fcndel", "Bu\u0308ndel", "bu\u0308ndel\u200b"])
def test_classes_that_look_the_same_are_noted(own_data, other):
    (own_data / "blue").rename(own_data / "bu\u0308ndel")
    (own_data / "red").rename(own_data / other)
    notes = build_datasets(folder(own_data)).reading.notes
    assert any("differ in case, spaces, invisible characters or the" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "green").mkdir(), "green has no images"),
        (lambda root: shutil.rmtree(root / "red"), "needs two class folders, but has 1"),
    ],
    ids=["an empty class", "a single class"],
)
def test_classes_that_cannot_be_split_are_named(own_data, change, message):
    change(own_data)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(own_data))


def test_a_folder_around_the_class_folders_is_named(own_data, tmp_path):
    around = own_data.rename(tmp_path / "around").parent
    with pytest.raises(UsageError, match=rf"has 1\.\n.* data\.root={around / 'around'}$"):
        build_datasets(folder(around))


@pytest.fixture
def loader_with_a_broken_image(own_data):
    """The validation images of a folder in which one is broken, as the training gets them."""
    split(own_data)
    (own_data / "val" / "blue" / "0.jpg").write_bytes(b"no image")

    def load(*, batch_size, skip_unreadable, workers=0):
        datasets = build_datasets(folder(own_data))
        settings = loader_settings(batch_size=batch_size, workers=workers)
        module = DataModule(datasets, settings, skip_unreadable=skip_unreadable)
        batches = [module.on_before_batch_transfer(batch, 0) for batch in module.val_dataloader()]
        return module, batches

    return load


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(loader_with_a_broken_image, workers):
    with pytest.raises(UnreadableImageError, match=r"0\.jpg cannot be read: it is a text"):
        loader_with_a_broken_image(batch_size=4, skip_unreadable=False, workers=workers)


def test_unreadable_images_can_be_left_out_and_are_listed(loader_with_a_broken_image):
    module, batches = loader_with_a_broken_image(batch_size=4, skip_unreadable=True)
    assert [len(batch.images) for batch in batches] == [3, 4, 4, 4, 4]
    assert [path.endswith("0.jpg") for path in module.unreadable] == [True]


def test_a_whole_batch_of_unreadable_images_is_refused(loader_with_a_broken_image, own_data):
    (own_data / "val" / "blue" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match="All images of a batch are unreadable"):
        loader_with_a_broken_image(batch_size=2, skip_unreadable=True)
