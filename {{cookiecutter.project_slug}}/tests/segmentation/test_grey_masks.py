"""What the values of masks mean: ids, black and white, or colours of a palette."""

import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.data.reading import Reading
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.segmentation.grey_masks import with_greys
from {{ cookiecutter.package_name }}.segmentation.masks import (
    Classes,
    mask_image,
    read_classes,
    read_mask,
)

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


def ids(path, classes):
    return read_mask(path, classes, (2, 3)).tolist()


@pytest.mark.parametrize("text", ["background\nobject\n", "background 0 0 0\nobject 255 255 255\n"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_black_and_white_masks_of_two_classes_hold_both(tmp_path, text, mode):
    paths = write(tmp_path, Image.fromarray(OBJECT * 255).convert(mode))
    classes = with_greys(names(tmp_path, text), paths, Reading())
    assert ids(paths[0], classes) == OBJECT.tolist()


def test_white_is_ignored_where_ids_occur(tmp_path):
    mask = np.array([[0, 1, 255], [0, 0, 255]], np.uint8)
    paths = write(tmp_path, mask, OBJECT * 255)
    classes = with_greys(names(tmp_path, "background\nobject\n"), paths, Reading())
    assert ids(paths[0], classes) == mask.tolist()
    assert ids(paths[1], classes) == (OBJECT * 255).tolist()


def test_a_mask_that_contradicts_the_black_and_white_ones_is_named(tmp_path):
    paths = write(tmp_path, OBJECT * 255, OBJECT)
    classes = with_greys(names(tmp_path, "background\nobject\n"), paths[:1], Reading())
    with pytest.raises(UnreadableImageError, match=r"1\.png .* holds the values \[1\], but .*255"):
        ids(paths[1], classes)


def test_black_and_white_masks_of_three_classes_are_refused(tmp_path):
    paths = write(tmp_path, OBJECT * 255)
    with pytest.raises(UsageError, match=r"only, but classes\.txt names 3 classes"):
        with_greys(names(tmp_path, "background\ncar\nroad\n"), paths, Reading())


def test_grey_colours_of_the_classes_are_looked_up(tmp_path):
    mask = np.array([[0, 128, 255], [0, 0, 128]], np.uint8)
    paths = write(tmp_path, mask)
    classes = names(tmp_path, "sky 255 255 255\nroad 128 128 128\nother 0 0 0\n")
    assert ids(paths[0], with_greys(classes, paths, Reading())) == [[2, 1, 0], [2, 2, 1]]


def palette(indices, *colors):
    image = Image.fromarray(np.asarray(indices, np.uint8))
    image.putpalette([part for color in colors for part in color])
    return image


def test_a_palette_goes_by_its_colours_whatever_their_order(tmp_path):
    picture = palette(1 - OBJECT, (128, 64, 128), (0, 0, 0))
    classes = names(tmp_path, "background 0 0 0\nobject 128 64 128\n")
    paths = write(tmp_path, picture)
    assert ids(paths[0], with_greys(classes, paths, Reading())) == OBJECT.tolist()
    without = names(tmp_path, "background\nobject\n")
    assert ids(paths[0], with_greys(without, paths, Reading())) == (1 - OBJECT).tolist()


def test_index_255_of_a_palette_is_ignored_unless_it_has_the_colour_of_a_class(tmp_path):
    classes = Classes(["background", "object"], {0x000000: 0, 0x804080: 1})
    colors = [(0, 0, 0), (128, 64, 128), *[(9, 9, 9)] * 253, (224, 224, 192)]
    paths = write(tmp_path, palette([[0, 1, 255], [0, 0, 0]], *colors))
    assert ids(paths[0], classes) == [[0, 1, 255], [0, 0, 0]]
    paths = write(tmp_path, palette([[0, 1, 2], [0, 0, 0]], *colors))
    with pytest.raises(UnreadableImageError, match=r"its colour \(9, 9, 9\) is none"):
        ids(paths[0], classes)


def test_a_palette_of_greys_counts_as_grey_values(tmp_path):
    classes = names(tmp_path, "background 0 0 0\nobject 128 64 128\n")
    paths = write(tmp_path, palette(OBJECT, *[(grey, grey, grey) for grey in range(256)]))
    assert ids(paths[0], with_greys(classes, paths, Reading())) == OBJECT.tolist()


def test_a_class_in_no_training_mask_is_reported(tmp_path):
    paths, reading = write(tmp_path, OBJECT, OBJECT), Reading()
    with_greys(names(tmp_path, "background\nobject\ncar\n"), paths, reading)
    assert reading.notes == ["2 of 2 training masks have no pixel of car."]
    write(tmp_path, np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(UsageError, match="hold no pixel of object, so nothing can be learned"):
        with_greys(names(tmp_path, "background\nobject\n"), paths, Reading())


def test_no_more_masks_are_looked_at_than_show_all_classes(tmp_path, monkeypatch):
    opened, load = [], Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or load(path))
    paths = write(tmp_path, OBJECT, np.zeros((2, 3), np.uint8))
    with_greys(names(tmp_path, "background\nobject\n"), [paths[0]] * 1000, Reading())
    assert len(opened) == 1
    with_greys(names(tmp_path, "background\nobject\n"), [paths[1]] * 1000, Reading())
    assert len(opened) == 201


def test_the_mask_of_a_turned_image_may_be_turned_as_well(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(OBJECT).save(tmp_path / "a.png", exif=exif)
    classes = names(tmp_path, "background\nobject\n")
    mask = read_mask(str(tmp_path / "a.png"), classes, (3, 2))
    assert torch.equal(mask, torch.from_numpy(OBJECT).rot90(-1))
    mask_image(torch.from_numpy(OBJECT)).save(tmp_path / "b.png")
    with pytest.raises(UnreadableImageError, match=r"is 3 x 2 .* image is 2 x 3\. .*Exif"):
        read_mask(str(tmp_path / "b.png"), classes, (3, 2))
