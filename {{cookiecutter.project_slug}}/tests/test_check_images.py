import time
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
from collections import Counter
# ~ endif
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.check_images import check_images
from {{ cookiecutter.package_name }}.data.datamodule import Datasets, usable_cpus
# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.data.images import (
    Unreadable,
    UnreadableImageError,
    may_end_early,
    read_image,
)
# ~ else
from {{ cookiecutter.package_name }}.data.images import (
    Unreadable,
    UnreadableImageError,
    may_end_early,
)
# ~ endif
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.data import PixelFormat
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import OWN, composed


def datasets_of(root, *overrides):
    return build_datasets(check(composed(OWN, f"data.root={root}", *overrides), Settings).data)


class SlowImages:
    """Images that take 0.1 s each to read."""

    def __init__(self, count):
        self.paths = self.names = np.array([f"{index}.bmp" for index in range(count)])
        # ~ if cookiecutter.scope == "complete"
        self.images = self
        # ~ elif cookiecutter.task == "segmentation"
        self.masks = self
        # ~ endif
        self.read = []
        self.broken = -1

    def __len__(self):
        return len(self.paths)

    def sample(self, index):
        time.sleep(0.1)
        self.read.append(index)
        return Unreadable(self.paths[index], "it ends early") if index == self.broken else "sample"

    __getitem__ = sample

    # ~ if cookiecutter.scope == "complete"
    def source(self, index):
        return [self.paths[index]], None

    # ~ endif
    def counted_labels(self, index):
        return []


def slow_datasets(count):
    train, empty = SlowImages(count), SlowImages(0)
    reading = Reading(images={"train": count, "val": 0, "test": 0})
    return Datasets(train, empty, empty, [], collate=list, reading=reading)


def test_checking_images_ends_after_its_time_and_leaves_the_random_numbers_as_they_are(
    own_data, caplog
):
    datasets = datasets_of(own_data)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0)
        assert not caplog.messages
        assert torch.equal(torch.rand(3), expected)
        check_images(datasets, skip_unreadable=False, seed=0, seconds=0)
    total = sum(map(len, (datasets.train, datasets.val, datasets.test)))
    (message,) = caplog.messages
    assert message.startswith(f"0 of {total} images were checked before the training")


def test_the_time_is_looked_at_before_each_image(caplog):
    datasets = slow_datasets(1000)
    began = time.monotonic()
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0, seconds=0.2)
    assert time.monotonic() - began < 1
    read = datasets.train.read
    assert len(set(read)) == len(read) < 1000
    assert caplog.messages[0].startswith(f"{len(read)} of 1000 images were checked")


def test_more_time_is_used_if_all_images_can_be_read_then(caplog):
    datasets = slow_datasets(48 * usable_cpus())  # in 4.8 s
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0, seconds=2)
    assert len(datasets.train.read) == len(datasets.train)
    assert not caplog.messages


def test_the_images_are_checked_by_the_first_process_alone(monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "1")
    datasets = slow_datasets(3)
    for skip_unreadable in (False, True):
        check_images(datasets, skip_unreadable=skip_unreadable, seed=0)
    assert datasets.train.read == []
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_images(datasets, skip_unreadable=False, seed=0)
    assert sorted(datasets.train.read) == [0, 1, 2]


# ~ if cookiecutter.scope == "complete" and cookiecutter.task != "classification"
def test_each_file_is_decoded_once_also_if_it_is_read_as_tiles(own_data, monkeypatch):
    module, decoded = "{{ 'data.images' if cookiecutter.task == 'detection' else 'segmentation.dataset' }}", []
    datasets = datasets_of(own_data, "data.tiles=32")
    splits = (datasets.train, datasets.val, datasets.test)
    files = [path for split in splits for path in {*split.paths.tolist()}]
    assert sum(map(len, splits)) > len(files)
    monkeypatch.setattr(
        f"{{ cookiecutter.package_name }}.{module}.read_image",
        lambda path, *pixels: decoded.append(path) or read_image(path, *pixels),
    )
    check_images(datasets, skip_unreadable=False, seed=0)
    assert Counter(decoded) == Counter(files)


# ~ endif
def test_a_file_that_ends_early_is_named_even_if_there_is_no_time_to_read_all(tmp_path, caplog):
    whole = tmp_path / "whole.jpg"
    Image.new("RGB", (30, 20)).save(whole)
    datasets = slow_datasets(1000)
    datasets.train.paths = np.array([str(tmp_path / f"{index}.jpg") for index in range(1000)])
    for path in map(Path, datasets.train.paths):
        path.hardlink_to(whole)
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0, seconds=1)
    read = len(datasets.train.read)
    assert read < 200
    assert f"{read} of 1000 images were checked" in caplog.messages[0]
    assert f"the ends of the files of {1000 - read} others" in caplog.messages[0]
    last = set(range(1000)).difference(datasets.train.read).pop()
    path = Path(datasets.train.paths[last])
    path.unlink()
    path.write_bytes(whole.read_bytes()[:-1])
    datasets.train.broken = last
    with pytest.raises(UnreadableImageError, match=rf"{path} cannot be read: it ends early"):
        check_images(datasets, skip_unreadable=False, seed=0, seconds=1)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "PNG"])
def test_the_end_of_a_file_is_that_of_its_format(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (30, 20)).save(path)
    assert not may_end_early(str(path))
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:1], b"", whole + b"\0"):
        path.write_bytes(content)
        assert may_end_early(str(path))
    assert may_end_early(str(tmp_path / f"missing.{suffix}"))


def test_every_unreadable_image_is_named_and_left_out_if_that_is_allowed(caplog):
    datasets = slow_datasets(3)
    other = SlowImages(2)
    datasets = replace(datasets, val=other, test=other)
    datasets.reading.images.update(val=2, test=2)
    datasets.train.broken, datasets.val.broken = 1, 0
    with caplog.at_level("INFO"), pytest.raises(UnreadableImageError, match="it ends early"):
        check_images(datasets, skip_unreadable=False, seed=0)
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=True, seed=0)
    refused, left_out, remaining = caplog.messages
    assert remaining == "Data: train 2 images, val 1 image, test 1 image."
    assert left_out == f"Left out: {refused}"
    names = refused.removeprefix("2 unreadable images: ").removesuffix(" (it ends early).")
    assert {"0.bmp", "1.bmp"} == {*names.split(", ")}
    assert datasets.reading.images == {"train": 2, "val": 1, "test": 1}
    assert {(part.split, part.reason, part.count) for part in datasets.reading.left_out} >= {
        (split, "unreadable", 1) for split in ("train", "val", "test")
    }
    datasets.val.paths = datasets.val.names = datasets.val.paths[:1]
    with pytest.raises(UsageError, match=r"None of the images of val can be read, such as 0\.bmp"):
        check_images(datasets, skip_unreadable=True, seed=0)


def test_each_entry_of_a_file_that_is_listed_twice_is_left_out():
    datasets = slow_datasets(4)
    datasets.train.paths[1] = datasets.train.paths[0]
    datasets.train.broken = 1
    check_images(datasets, skip_unreadable=True, seed=0)
    assert datasets.reading.images["train"] == 2
    assert [part.count for part in datasets.reading.left_out] == [2]


# ~ if cookiecutter.task == "classification"
def test_the_class_of_an_unreadable_image_is_not_counted_and_must_remain(own_data, caplog):
    datasets = datasets_of(own_data, "data.skip_unreadable=true")
    counts, (lost, other) = datasets.reading.objects["train"], datasets.classes
    before = dict(counts)
    paths = map(Path, datasets.train.paths[datasets.train.targets == 0])
    next(paths).write_bytes(b"no image")
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=True, seed=0)
    assert counts == {lost: before[lost] - 1, other: before[other]}
    assert datasets.reading.images["train"] == sum(counts.values())
    assert datasets.reading.lines()[0] in caplog.messages
    for path in paths:
        path.write_bytes(b"no image")
    datasets = datasets_of(own_data, "data.skip_unreadable=true")
    with pytest.raises(UsageError, match=f"All images of train have the class {other}"):
        check_images(datasets, skip_unreadable=True, seed=0)


# ~ elif cookiecutter.task == "detection"
def test_the_objects_of_an_unreadable_image_are_not_counted_and_some_must_remain(own_data, caplog):
    datasets = datasets_of(own_data, "data.skip_unreadable=true")
    reading, paths = datasets.reading, [*map(Path, datasets.train.paths)]
    before = sum(reading.objects["train"].values())
    content = paths[0].read_bytes()
    paths[0].write_bytes(b"no image")
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=True, seed=0)
    lost = len(datasets.train.counted_labels(0))
    assert sum(reading.objects["train"].values()) == before - lost < before
    objects = [part for part in reading.left_out if part.kind == "objects"]
    assert [(part.split, part.count) for part in objects] == [("train", lost)]
    assert reading.lines()[0] in caplog.messages
    paths[0].write_bytes(content)
    datasets = datasets_of(own_data, "data.skip_unreadable=true")
    datasets.train.starts[-1] = datasets.train.starts[-2]  # the last image has no objects
    last = datasets.train.labels[datasets.train.starts[-1] :].tolist()
    for label in last:
        datasets.reading.objects["train"][datasets.classes[label]] -= 1
    for path in paths[:-1]:
        path.write_bytes(b"no image")
    with pytest.raises(UsageError, match="train has 1 image, but no objects of"):
        check_images(datasets, skip_unreadable=True, seed=0)


# ~ endif
def test_images_without_a_visible_pixel_are_named(tmp_path, caplog):
    datasets = slow_datasets(4)
    paths = np.array([str(tmp_path / f"{index}.png") for index in range(4)])
    datasets.train.paths = datasets.train.names = paths
    visible = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    visible.putpixel((3, 3), (9, 9, 9, 1))
    for path, image in zip(
        datasets.train.paths,
        [Image.new("RGB", (8, 8), "white"), visible, *[Image.new("RGBA", (8, 8))] * 2],
        strict=True,
    ):
        image.save(path)
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0, pixels=PixelFormat(4))
        assert not caplog.messages  # the fourth channel is kept
        check_images(datasets, skip_unreadable=False, seed=0)
    (message,) = caplog.messages
    assert "transparent, so that they are read as white: 2 of 4, such as" in message
    assert message.endswith(f"{datasets.train.paths[2]}.")


def test_images_that_are_validated_and_tested_are_read_once():
    datasets = slow_datasets(1)
    other = SlowImages(3)
    datasets = replace(datasets, val=other, test=other)
    check_images(datasets, skip_unreadable=False, seed=0)
    assert sorted(datasets.val.read) == [0, 1, 2]
