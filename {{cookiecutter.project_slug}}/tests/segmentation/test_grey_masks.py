"""What the values of masks mean: ids, black and white, or colours of a palette."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.segmentation import grey_masks
from {{ cookiecutter.package_name }}.segmentation.class_list import (
    Classes,
    read_classes,
)
from {{ cookiecutter.package_name }}.segmentation.grey_masks import with_greys
from {{ cookiecutter.package_name }}.segmentation.masks import read_mask
from {{ cookiecutter.package_name }}.segmentation.predicted_masks import mask_image

OBJECT = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)  # the true ids


def names(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    return read_classes(tmp_path / "classes.txt")


def write(tmp_path, *masks):
    paths = []
    for index, mask in enumerate(masks):
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        image.save(tmp_path / f"{index}.png")
        paths.append(str(tmp_path / f"{index}.png"))
    return paths


def looked_at(classes, paths, reading=None, **other_splits):
    """The classes with the meaning of grey values, by split; without others, that of train."""
    pairs = {"train": paths, **other_splits}
    pairs = {split: [(path, path) for path in part] for split, part in pairs.items()}
    by_split = with_greys(classes, pairs, reading or Reading())
    return by_split if other_splits else by_split["train"]


def ids(path, classes):
    return read_mask(path, classes, (2, 3)).tolist()


@pytest.mark.parametrize("text", ["background\nobject\n", "background 0 0 0\nobject 255 255 255\n"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_black_and_white_masks_of_two_classes_hold_both(tmp_path, text, mode):
    paths = write(tmp_path, Image.fromarray(OBJECT * 255).convert(mode))
    classes = looked_at(names(tmp_path, text), paths)
    assert ids(paths[0], classes) == OBJECT.tolist()


@pytest.mark.parametrize(("dtype", "value"), [(np.uint8, 128), (np.uint16, 65535)])
def test_two_values_of_two_classes_are_both_of_them(tmp_path, dtype, value):
    paths, reading = write(tmp_path, OBJECT.astype(dtype) * dtype(value)), Reading()
    text = "background\nobject\n"
    classes = looked_at(names(tmp_path, text), paths, reading)
    assert ids(paths[0], classes) == OBJECT.tolist()
    expected = (
        f"1 of 1 masks of train hold the values 0 and {value} only: {value} is read as object."
    )
    assert reading.notes == [expected]
    for others in (text + "other\n", "background 0 0 0\nobject 9 9 9\n"):
        classes = looked_at(names(tmp_path, others), paths)
        with pytest.raises(UnreadableImageError, match=rf"\[{value}\], but the classes end at"):
            ids(paths[0], classes)


def test_white_is_ignored_where_ids_occur(tmp_path):
    mask = np.array([[0, 1, 255], [0, 0, 255]], np.uint8)
    paths = write(tmp_path, mask, OBJECT * 255)
    classes = looked_at(names(tmp_path, "background\nobject\n"), paths)
    assert ids(paths[0], classes) == mask.tolist()
    assert ids(paths[1], classes) == (OBJECT * 255).tolist()


def test_each_split_of_two_classes_may_write_the_object_in_its_own_way(tmp_path):
    paths, reading = write(tmp_path, OBJECT, OBJECT * 255, OBJECT * 255), Reading()
    classes = names(tmp_path, "background\nobject\n")
    by_split = looked_at(classes, paths[:1], reading, val=paths[1:], test=paths[1:])
    for split, path in (("train", paths[0]), ("val", paths[1]), ("test", paths[2])):
        assert ids(path, by_split[split]) == OBJECT.tolist()
    (note,) = reading.notes
    assert note == "2 of 2 masks of val hold the values 0 and 255 only: 255 is read as object."
    by_split = looked_at(classes, paths[1:], val=paths[:1])
    assert ids(paths[1], by_split["train"]) == ids(paths[0], by_split["val"]) == OBJECT.tolist()


def test_masks_of_0_and_1_among_masks_of_0_and_255_are_reported(tmp_path):
    paths, reading = write(tmp_path, OBJECT, OBJECT * 255), Reading()
    classes = looked_at(names(tmp_path, "background\nobject\n"), paths, reading)
    assert ids(paths[1], classes) == (OBJECT * 255).tolist()
    (note,) = reading.notes
    assert note.startswith(f"1 of 2 masks of train hold 0 and 255 only, such as {paths[1]}, and")
    assert "255 is ignored. If it stands for object, add it to classes.txt: object 255" in note
    classes = looked_at(names(tmp_path, "background\nobject 255 255 255\n"), paths)
    assert [ids(path, classes) for path in paths] == [OBJECT.tolist()] * 2


def test_the_pixels_of_the_masks_that_are_looked_at_are_counted(tmp_path):
    mask = np.array([[0, 1, 255], [0, 0, 255]], np.uint8)
    reading = Reading()
    looked_at(names(tmp_path, "background\nobject\n"), write(tmp_path, mask, OBJECT), reading)
    pixels = {"background": 6, "object": 4, "ignored": 2}
    assert reading.sampled["train"] == {"masks": 2, "of": 2, "pixels": pixels}
    (part,) = reading.left_out
    assert (part.kind, part.count, part.first) == ("pixels", 2, str(tmp_path / "0.png"))
    assert part.reason == "of id 255 in the sample of masks that is decoded at the start"


@pytest.mark.parametrize(
    ("mode", "text"),
    [("RGBA", "background 0 0 0\nobject 255 255 255\n"), ("LA", "background\nobject\n")],
)
def test_transparent_pixels_are_no_pixels_of_their_colour(tmp_path, mode, text):
    opacity = Image.fromarray(OBJECT * 255)
    drawn = Image.fromarray(OBJECT * 255).convert("RGB")
    (drawn if mode == "RGBA" else drawn.convert("L")).putalpha(opacity)
    cut_out = Image.merge(mode, [*drawn.convert(mode[:-1]).split(), opacity])
    filled = Image.merge(mode, [Image.new("L", (3, 2), 255)] * (len(mode) - 1) + [opacity])
    black, white = write(tmp_path, cut_out, filled)
    classes = looked_at(names(tmp_path, text), [black])
    assert ids(black, classes) == OBJECT.tolist()
    with pytest.raises(
        UnreadableImageError, match=r"1\.png .*transparent pixels .* not just the black"
    ):
        ids(white, classes)
    reading = Reading()  # such masks are not counted
    looked_at(names(tmp_path, text), [white], reading)
    assert reading.sampled["train"]["masks"] == 0
    assert not reading.notes


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_object_that_is_told_from_black_by_its_transparency_only_is_refused(tmp_path, mode):
    (path,) = write(tmp_path, Image.new(mode, (3, 2)))
    assert ids(path, looked_at(names(tmp_path, "background\nobject\n"), [])) == [[0] * 3] * 2
    mask = Image.new(mode, (3, 2))
    mask.putalpha(Image.fromarray(OBJECT * 255))
    classes = looked_at(names(tmp_path, "background\nobject\n"), write(tmp_path, mask))
    with pytest.raises(UnreadableImageError, match=r"0\.png .* the transparency alone as a mask"):
        ids(path, classes)


def test_masks_of_several_pages_are_not_taken_for_their_first_page(tmp_path):
    pages = [Image.fromarray((index == OBJECT).astype(np.uint8) * 255) for index in range(3)]
    pages[0].save(tmp_path / "0.tif", save_all=True, append_images=pages[1:])
    classes = looked_at(names(tmp_path, "background\ncar\nroad\n"), [str(tmp_path / "0.tif")])
    with pytest.raises(UnreadableImageError, match=r"0\.tif .* has 3 pages"):
        ids(str(tmp_path / "0.tif"), classes)


def test_a_mask_that_contradicts_the_black_and_white_ones_is_named(tmp_path):
    paths = write(tmp_path, OBJECT * 255, OBJECT)
    classes = looked_at(names(tmp_path, "background\nobject\n"), paths[:1])
    with pytest.raises(UnreadableImageError, match=r"1\.png .* holds the values \[1\], but .*255"):
        ids(paths[1], classes)


def test_black_and_white_masks_of_three_classes_are_refused(tmp_path):
    paths = write(tmp_path, OBJECT * 255)
    with pytest.raises(UsageError, match=r"only, but classes\.txt names 3 classes"):
        looked_at(names(tmp_path, "background\ncar\nroad\n"), paths)


def test_grey_colours_of_the_classes_are_looked_up(tmp_path):
    mask = np.array([[0, 128, 255], [0, 0, 128]], np.uint8)
    paths = write(tmp_path, mask)
    classes = names(tmp_path, "sky 255 255 255\nroad 128 128 128\nother 0 0 0\n")
    assert ids(paths[0], looked_at(classes, paths)) == [[2, 1, 0], [2, 2, 1]]


@pytest.mark.parametrize(
    ("values", "listed"),
    [
        ([0, 255, 255], "background\nobject 255 255 255\nroad\n"),
        ([0, 128, 255], "background\nroad 128 128 128\nobject 255 255 255\n"),
    ],
)
def test_a_value_of_zero_needs_no_colour(tmp_path, values, listed):
    paths = write(tmp_path, np.array([values, values], np.uint8))
    classes = names(tmp_path, listed)
    expected = {0: 0, 128: 1, 255: 1 if "128" not in listed else 2}
    assert ids(paths[0], looked_at(classes, paths)) == [[expected[value] for value in values]] * 2


def palette(indices, *colors):
    image = Image.fromarray(np.asarray(indices, np.uint8))
    image.putpalette([part for color in colors for part in color])
    return image


def test_a_palette_goes_by_its_colours_whatever_their_order(tmp_path):
    picture = palette(1 - OBJECT, (128, 64, 128), (0, 0, 0))
    classes = names(tmp_path, "background 0 0 0\nobject 128 64 128\n")
    paths = write(tmp_path, picture)
    assert ids(paths[0], looked_at(classes, paths)) == OBJECT.tolist()
    without = names(tmp_path, "background\nobject\n")
    assert ids(paths[0], looked_at(without, paths)) == (1 - OBJECT).tolist()


def test_index_255_of_a_palette_is_ignored_unless_it_has_the_colour_of_a_class(tmp_path):
    classes = Classes(["background", "object"], {0x000000: 0, 0x804080: 1})
    colors = [(0, 0, 0), (128, 64, 128), *[(9, 9, 9)] * 253, (224, 224, 192)]
    paths = write(tmp_path, palette([[0, 1, 255], [0, 0, 0]], *colors))
    assert ids(paths[0], classes) == [[0, 1, 255], [0, 0, 0]]
    reading = Reading()
    looked_at(classes, paths, reading)
    pixels = {"background": 4, "object": 1, "ignored": 1}
    assert reading.sampled["train"]["pixels"] == pixels
    assert [(part.count, part.first) for part in reading.left_out] == [(1, paths[0])]
    paths = write(tmp_path, palette([[0, 1, 2], [0, 0, 0]], *colors))
    with pytest.raises(UnreadableImageError, match=r"its colour \(9, 9, 9\) is none"):
        ids(paths[0], classes)


def test_a_palette_of_greys_counts_as_grey_values(tmp_path):
    classes = names(tmp_path, "background 0 0 0\nobject 128 64 128\n")
    paths = write(tmp_path, palette(OBJECT, *[(grey, grey, grey) for grey in range(256)]))
    assert ids(paths[0], looked_at(classes, paths)) == OBJECT.tolist()


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_palette_of_the_ids_in_grey_is_read_by_its_greys(tmp_path, suffix):
    stored = np.array([[0, 2, 2], [0, 255, 3]], np.uint8)
    classes, reading = names(tmp_path, "a\nb\nc\nd\n"), Reading()
    paths = [str(tmp_path / f"{index}.{suffix}") for index in range(2)]
    for path, values in zip(paths, (stored, stored[:, ::-1] % 255), strict=True):
        image = Image.fromarray(values)
        (image if suffix == "gif" else image.quantize(4)).save(path)
        with Image.open(path) as file:
            assert file.mode == "P"
    assert ids(paths[0], looked_at(classes, paths, reading)) == stored.tolist()
    assert reading.notes == ["2 of 2 masks of train have no pixel of b."]
    # Black and white may be the colours of any ids.
    paths = write(tmp_path, palette(1 - OBJECT, (255, 255, 255), (0, 0, 0)))
    assert ids(paths[0], looked_at(classes, paths)) == (1 - OBJECT).tolist()


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i4", "<f4"])
def test_ids_of_every_type_are_read_and_never_rounded_or_cut_off(tmp_path, kind):
    def write_tiff(values):
        Image.fromarray(values.astype(kind)).save(tmp_path / "a.tif")
        return str(tmp_path / "a.tif")

    classes = names(tmp_path, "background\nobject\n")
    assert ids(write_tiff(OBJECT), classes) == OBJECT.tolist()
    with pytest.raises(UnreadableImageError, match=r"a\.tif .* holds the ids \[300\]"):
        ids(write_tiff(OBJECT * 300.0), classes)
    for value in (0.5, np.nan) if kind == "<f4" else ():
        with pytest.raises(UnreadableImageError, match=r"a\.tif .* not whole numbers"):
            ids(write_tiff(OBJECT * value), classes)


def write_grey(path, values, bits):
    """Write a grey PNG file of 1, 2 or 4 bits, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    height, width = values.shape
    packed = np.packbits(
        (values[..., None] >> np.arange(bits)[::-1] & 1).reshape(height, -1), axis=1
    )
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
        chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))),
        chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return [str(path)]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_values_of_few_bits_are_ids_unless_they_are_colours_of_classes(tmp_path, bits):
    values = np.array([[0, 1, 1], [0, 0, 2**bits - 1]], np.uint8)
    classes = names(tmp_path, "\n".join(map(str, range(2**bits))))
    paths = write_grey(tmp_path / "a.png", values, bits)
    assert ids(paths[0], looked_at(classes, paths)) == values.tolist()
    # Programs that make files smaller write black, white and some greys in fewer bits.
    step = 255 // (2**bits - 1)
    greys = [f"class{value} {value} {value} {value}" for value in range(0, 256, step)][::-1]
    classes = names(tmp_path, "\n".join(greys))
    assert ids(paths[0], looked_at(classes, paths)) == (2**bits - 1 - values).tolist()


def test_a_class_in_no_training_mask_is_reported(tmp_path):
    paths, reading = write(tmp_path, OBJECT, OBJECT), Reading()
    looked_at(names(tmp_path, "background\nobject\ncar\n"), paths, reading, val=paths[:1])
    assert reading.notes == [
        "2 of 2 masks of train have no pixel of car.",
        "1 of 1 masks of val have no pixel of car.",
    ]
    many = names(tmp_path, "background\nobject\n" + "\n".join(map(str, range(9))))
    reading = Reading()
    looked_at(many, paths, reading)
    assert reading.notes == ["2 of 2 masks of train have no pixel of 0, 1, 2, 3, 4 and 4 more."]
    write(tmp_path, np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(UsageError, match="hold no pixel of object, so nothing can be learned"):
        looked_at(names(tmp_path, "background\nobject\n"), paths)
    both = write(tmp_path, OBJECT, np.zeros((2, 3), np.uint8))
    with pytest.raises(UsageError, match=r"val hold no pixel of object, .* can be measured"):
        looked_at(names(tmp_path, "background\nobject\n"), both[:1], val=both[1:])


def test_no_more_masks_are_decoded_than_show_all_classes_unless_they_are_small(
    tmp_path, monkeypatch
):
    paths = write(tmp_path, OBJECT + OBJECT[:, ::-1], np.full((2, 3), 255, np.uint8))
    for enough, decoded, ignored in ((100, 2, 6), (5, 1, 0)):
        monkeypatch.setattr(grey_masks, "ENOUGH_PIXELS", enough)
        reading = Reading()
        looked_at(names(tmp_path, "a\nb\nc\n"), paths, reading)
        assert reading.sampled["train"]["masks"] == decoded
        assert reading.sampled["train"]["pixels"]["ignored"] == ignored


def test_readable_masks_of_a_single_class_are_refused_also_if_others_are_damaged(tmp_path):
    paths = write(tmp_path, np.zeros((2, 3), np.uint8), OBJECT)
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:45])
    message = r"1 of 2 masks of train \(1 cannot be read\) hold no pixel of object"
    with pytest.raises(UsageError, match=message):
        looked_at(names(tmp_path, "background\nobject\n"), paths)


def test_the_mask_of_a_turned_image_may_be_turned_as_well(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(OBJECT).save(tmp_path / "a.png", exif=exif)
    classes = names(tmp_path, "background\nobject\n")
    mask = read_mask(str(tmp_path / "a.png"), classes, (3, 2))
    assert torch.equal(mask, torch.from_numpy(OBJECT).rot90(-1))
    mask_image(torch.from_numpy(OBJECT)).save(tmp_path / "b.png")
    photo = tmp_path / "b.jpg"
    Image.new("RGB", (3, 2)).save(photo, exif=exif)
    assert torch.equal(read_mask(str(tmp_path / "b.png"), classes, (3, 2), str(photo)), mask)
    with pytest.raises(UnreadableImageError, match=r"is 3 x 2 .* image is 2 x 3\. .*Exif"):
        read_mask(str(tmp_path / "b.png"), classes, (3, 2))
