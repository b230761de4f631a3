"""Masks that may not mean what they are read as."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from test_grey_masks import OBJECT, ids, looked_at, names, write

from {{ cookiecutter.package_name }}.data.check_images import check_images
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.diagnostics.image_checks import check_data
# ~ endif
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.segmentation import grey_masks
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.grey_masks import with_greys
from {{ cookiecutter.package_name }}.segmentation.predicted_masks import mask_image
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import OWN, composed


@pytest.fixture
def small_data(tmp_path):
    """Write 204 images for train and 2 for val, with masks; return the folder of the masks."""
    for split, count in (("train", 204), ("val", 2)):
        for folder in ("images", "masks"):
            (tmp_path / folder / split).mkdir(parents=True)
        for index in range(count):
            shade = index % 256
            photo = Image.new("RGB", (3, 2), (shade, 255 - shade, index // 256))
            photo.save(tmp_path / "images" / split / f"{index:03}.png")
            mask_image(torch.from_numpy(OBJECT)).save(
                tmp_path / "masks" / split / f"{index:03}.png"
            )
    names(tmp_path, "background\nobject\n")
    return tmp_path


def datasets_of(root, *words):
    words = (OWN, f"data.root={root}", "data.skip_unreadable=true", *words)
    return build_datasets(check(composed(*words), Settings).data)


def sampled_places(count=204):
    return {*np.linspace(0, count - 1, 200).astype(int).tolist()}


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_black_and_white_palette_goes_by_its_colours_in_any_order(tmp_path, suffix):
    paths = []
    for name, palette, indices in (
        ("a", [0, 0, 0, 255, 255, 255], OBJECT),
        ("b", [255, 255, 255, 0, 0, 0], 1 - OBJECT),
    ):
        image = Image.fromarray(indices, "P")
        image.putpalette(palette)
        image.save(tmp_path / f"{name}.{suffix}")
        paths.append(str(tmp_path / f"{name}.{suffix}"))
    reading = Reading()
    classes = looked_at(names(tmp_path, "background\nobject\n"), paths, reading)
    assert [ids(path, classes) for path in paths] == [OBJECT.tolist()] * 2
    assert not reading.notes


def test_a_palette_that_has_black_later_is_named(tmp_path):
    image = Image.fromarray(1 - OBJECT, "P")
    image.putpalette([200, 0, 0, 0, 0, 0, 0, 200, 0])
    (path,) = write(tmp_path, image)
    reading = Reading()
    looked_at(names(tmp_path, "background\nobject\nother\n"), [path], reading)
    expected = f"1 of 1 masks of train, such as {path}: the palette has black, but not as its first"
    assert any(note.startswith(expected) for note in reading.notes)


@pytest.mark.parametrize(("suffix", "lossless"), [("jpg", False), ("webp", False), ("webp", True)])
def test_masks_whose_format_changes_values_are_reported(tmp_path, suffix, lossless):
    path, reading = str(tmp_path / f"a.{suffix}"), Reading()
    image = Image.fromarray(np.repeat(np.uint8([[20, 40]] * 16), 8, axis=1))
    image.save(path, quality=95, lossless=lossless)
    looked_at(names(tmp_path, "\n".join(map(str, range(60)))), [path], reading)
    expected = f"1 of 1 masks of train, such as {path}: the mask is a JPEG, WebP or similar file"
    assert reading.notes[-1].startswith(expected) != lossless


def test_masks_of_different_palettes_are_reported_unless_the_colours_are_named(tmp_path):
    masks = [mask_image(torch.from_numpy(ids)) for ids in (OBJECT, OBJECT, 1 - OBJECT)]
    masks[2].putpalette([*masks[0].getpalette()[3:6], 0, 0, 0])
    paths, text = write(tmp_path, *masks), "background\nobject\n"
    reading = Reading()
    looked_at(names(tmp_path, text), paths[:2], reading)
    assert not reading.notes
    looked_at(names(tmp_path, text), paths, reading)
    expected = f"Masks of train have different palettes, such as {paths[0]} and {paths[2]}. Their"
    assert reading.notes[0].startswith(expected)
    reading = Reading()
    color = " ".join(map(str, masks[0].getpalette()[3:6]))
    classes = looked_at(names(tmp_path, f"background 0 0 0\nobject {color}\n"), paths, reading)
    assert ids(paths[0], classes) == ids(paths[2], classes) == OBJECT.tolist()
    assert not reading.notes


def test_masks_that_are_not_decoded_are_checked_by_their_header(tmp_path, monkeypatch):
    monkeypatch.setattr(grey_masks, "ENOUGH_PIXELS", 5)
    monkeypatch.setattr(grey_masks, "MAX_OPENED", 4)
    (first,) = write(tmp_path, OBJECT + OBJECT[:, ::-1])  # it has all classes
    palettes = [mask_image(torch.from_numpy(OBJECT)) for _ in range(2)]
    palettes[1].putpalette([9, 9, 9, 0, 0, 0])
    for name, image in zip("bc", palettes, strict=True):
        image.save(tmp_path / f"{name}.png")
    Image.fromarray(OBJECT).save(tmp_path / "d.webp", quality=90)
    later = [str(tmp_path / name) for name in ("b.png", "c.png", "d.webp")]
    reading = Reading()
    looked_at(names(tmp_path, "x\ny\nz\n"), [first, *later, *[first] * 30], reading)
    lossy = [note for note in reading.notes if "values at edges" in note]
    assert lossy[0].startswith(f"1 of 5 masks of train, such as {later[2]}:")
    monkeypatch.setattr(grey_masks, "MAX_OPENED", 200)
    looked_at(names(tmp_path, "x\ny\nz\n"), [first, *later], reading)
    palette = "Masks of train have different palettes, such as"
    assert any(note.startswith(f"{palette} {later[0]} and {later[1]}") for note in reading.notes)


def test_a_square_mask_of_a_turned_image_is_reported(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg", exif=exif)
    (path,) = write(tmp_path, OBJECT[:, :2])
    pairs, reading = [(str(tmp_path / "a.jpg"), path)], Reading()
    with_greys(names(tmp_path, "background\nobject\n"), {"train": pairs, "val": pairs}, reading)
    expected = f"1 of 1 masks of train, such as {path}: the image is turned (Exif), but the mask"
    assert reading.notes[0].startswith(expected)


def test_training_looks_at_every_mask_also_at_those_that_the_sample_leaves_out(small_data, caplog):
    photos, masks = small_data / "images" / "train", small_data / "masks" / "train"
    lossy, turned, recolored, ignoring = sorted({*range(204)} - sampled_places())
    first = masks / "000.png"
    first.rename(masks / "000.webp")  # the first file of its kind is in the sample, so it has none
    Image.fromarray(OBJECT).save(masks / "000.webp", lossless=True)
    (masks / f"{lossy:03}.png").unlink()
    Image.new("L", (3, 2)).save(masks / f"{lossy:03}.webp", lossless=False)
    exif = Image.Exif()
    exif[0x0112] = 6
    square = Image.fromarray(OBJECT[:, :2])
    Image.new("RGB", (2, 2), "red").save(photos / f"{turned:03}.png", exif=exif)
    square.save(masks / f"{turned:03}.png")
    other = mask_image(torch.from_numpy(OBJECT))
    other.putpalette([0, 0, 0, 9, 9, 9])
    other.save(masks / f"{recolored:03}.png")
    Image.fromarray(np.full((2, 3), 255, np.uint8)).save(masks / f"{ignoring:03}.png")

    datasets = datasets_of(small_data)
    known = list(datasets.reading.notes)
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0)
    found = datasets.reading.notes[len(known) :]
    assert found == caplog.messages
    assert {note[: note.find("png") + 3] for note in found if "values at edges" not in note} == {
        f"1 of 204 masks of train, such as {masks / f'{turned:03}.png'}",
        f"1 of 204 masks of train, such as {masks / f'{ignoring:03}.png'}",
        f"Masks of train have different palettes, such as {masks / '001.png'}",
    }
    assert any(f" and {masks / f'{recolored:03}.png'}. Their" in note for note in found)
    lossy_note = f"1 of 204 masks of train, such as {masks / f'{lossy:03}.webp'}: the mask is a"
    assert any(note.startswith(lossy_note) for note in found)
    # 201 masks of 3 + 3 pixels, a square of 3 + 1, and masks of 6 pixels of id 0 and of id 255.
    pixels = {"background": 201 * 3 + 3 + 6, "object": 201 * 3 + 1, "ignored": 6}
    assert datasets.reading.sampled["train"] == {"masks": 204, "of": 204, "pixels": pixels}


def test_what_all_masks_show_replaces_what_the_sample_has_shown(small_data):
    masks = small_data / "masks" / "train"
    later, other, *_ = sorted({*range(204)} - sampled_places())
    for index in (1, later):
        (masks / f"{index:03}.png").unlink()
        Image.fromarray(OBJECT).save(masks / f"{index:03}.jpg")
    for index in (0, 2):
        recolored = mask_image(torch.from_numpy(OBJECT))
        recolored.putpalette([0, 0, 0, 9, 9, 9 + index])
        recolored.save(masks / f"{index:03}.png")
    Image.fromarray(OBJECT * 2).save(masks / f"{other:03}.png")
    names(small_data, "background\nobject\nother\n")
    datasets = datasets_of(small_data)

    def found():
        notes = [note for note in datasets.reading.notes if "asks of train" in note]
        return sorted(re.sub(r"(, such as| different| no pixel).*", "", note) for note in notes)

    palettes = "Masks of train have"
    assert found() == ["1 of 200 masks of train", "200 of 204 masks of train have", palettes]
    check_images(datasets, skip_unreadable=False, seed=0)
    assert found() == ["2 of 204 masks of train", palettes]


# ~ if cookiecutter.scope == "complete"
def test_doctor_finds_a_palette_that_differs_beyond_the_sample(small_data):
    (hidden, *_) = sorted({*range(204)} - sampled_places())
    masks = small_data / "masks" / "train"
    other = mask_image(torch.from_numpy(OBJECT))
    other.putpalette([0, 0, 0, 9, 9, 9])
    other.save(masks / f"{hidden:03}.png")
    (issue,) = check_data(datasets_of(small_data), progress=False).issues_of_kind("annotation")
    photo = small_data / "images" / "train" / f"{hidden:03}.png"
    reason = f"the palette of its mask differs from that of {masks / '000.png'}"
    assert (issue.path, issue.split, issue.reason) == (str(photo), "train", reason)
    assert issue.position == hidden


def test_doctor_names_each_mask_whose_header_is_suspicious(small_data):
    mask = small_data / "masks" / "val" / "001"
    mask.with_suffix(".png").unlink()
    Image.fromarray(OBJECT).save(mask.with_suffix(".jpg"))
    Image.fromarray(np.uint8([[0, 0, 0], [0, 1, 1]])).save(small_data / "masks/val/000.png")
    issues = check_data(datasets_of(small_data), progress=False).issues_of_kind("annotation")
    photo = small_data / "images" / "val" / "001.png"
    assert [(issue.path, issue.reason[:31]) for issue in issues] == [
        (str(photo), "the mask is a JPEG, WebP or sim")
    ]


# ~ endif
def test_masks_are_decoded_at_the_start_up_to_the_largest_size_of_images(small_data):
    for path in small_data.glob("masks/*/*.png"):
        Image.fromarray(OBJECT * 255).save(path)
    assert 255 in datasets_of(small_data).train.masks.classes.greys
    assert not datasets_of(small_data, "data.max_pixels=5").train.masks.classes.greys


def test_a_mask_of_0_and_255_beyond_the_sample_is_named(small_data, caplog):
    (hidden, *_) = sorted({*range(204)} - sampled_places())
    path = small_data / "masks" / "train" / f"{hidden:03}.png"
    Image.fromarray(OBJECT * 255).save(path)
    datasets = datasets_of(small_data)
    assert not datasets.reading.left_out
    with caplog.at_level("INFO"):
        check_images(datasets, skip_unreadable=False, seed=0)
    (message,) = caplog.messages
    expected = f"1 of 204 masks of train, such as {path}, have pixels of id 255, which are ignored."
    assert message.startswith(expected)


def test_masks_with_an_object_must_belong_to_images_that_can_be_read(small_data, caplog):
    masks = [small_data / "masks" / "val" / f"{index:03}.png" for index in (0, 1)]
    Image.new("L", (3, 2)).save(masks[0])
    damaged = small_data / "images" / "val" / "001.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    datasets = datasets_of(small_data)
    message = r"1 of 2 masks of val \(1 cannot be read\) hold no pixel of object"
    with caplog.at_level("INFO"), pytest.raises(UsageError, match=message):
        check_images(datasets, skip_unreadable=True, seed=0)
    assert caplog.messages[0].startswith(f"Left out: 1 unreadable image: {damaged}")
