"""TIFF and NumPy files of any number of channels, and the range of the values of a data set."""

import sys

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torchvision.transforms import v2

from {{ cookiecutter.package_name }}.data.augment import color_jitter
from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    image_size,
    read_image,
)
from {{ cookiecutter.package_name }}.data.value_range import extent_of, range_of
from {{ cookiecutter.package_name }}.settings.data import PixelFormat

TWELVE_BITS = PixelFormat(value_range=(0, 4095))


def write(path, values):
    """Write an array as it is, in the format that the suffix names."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        tifffile.imwrite(path, values)
    return path


def test_arrays_of_numpy_are_scaled_by_the_range(tmp_path):
    path = write(tmp_path / "a.npy", np.array([[0, 960, 4095, 5000]], np.uint16))
    assert read_image(path, TWELVE_BITS)[0].tolist() == [[0, 60, 255, 255]]
    path = write(tmp_path / "b.npy", np.array([[0.0, 0.25, 1.0, 1.005]], np.float32))
    assert read_image(path)[0].tolist() == [[0, 64, 255, 255]]


def test_an_array_without_pixels_is_unreadable(tmp_path):
    path = write(tmp_path / "a.npy", np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(UnreadableImageError, match="it has no pixels"):
        read_image(path)


def test_colours_of_16_bits_in_a_tiff_file_keep_their_low_bits(tmp_path):
    path = write(tmp_path / "a.tif", np.full((4, 6, 3), (0, 960, 3200), np.uint16))
    assert read_image(path, TWELVE_BITS)[:, 0, 0].tolist() == [0, 60, 199]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_of_many_channels_is_that_of_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    tifffile.imwrite(
        tmp_path / "b.tif", np.dstack([values] * 4), extratags=[(274, "H", 1, orientation)]
    )
    Image.fromarray(values).save(tmp_path / "b.png", exif=exif)
    bands = read_image(tmp_path / "b.tif", PixelFormat(channels=4))
    assert torch.equal(bands[:3], read_image(tmp_path / "b.png"))


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("i1", -128, 127), ("u4", 0, 2**32 - 1), ("i4", -(2**31), 2**31 - 1)]
)
def test_the_sign_of_the_values_of_a_tiff_file_is_read(tmp_path, kind, low, high):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[low, low // 2 + high // 2, high]], kind))
    image = read_image(tmp_path / "a.tif", PixelFormat(value_range=(low, high)))
    assert image[0].tolist() == [[0, 127, 255]]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 1j]], np.complex64), "complex64"),
        (np.zeros((4, 6, 5), np.uint8), r"it has 4 x 6 x 5 values, but data\.channels=3"),
        (np.zeros((20_000, 20_000), np.bool_), "it has 20000 x 20000 pixels"),
    ],
)
def test_arrays_that_are_no_images_are_named(tmp_path, values, reason):
    path = write(tmp_path / "a.npy", values)
    with pytest.raises(UnreadableImageError, match=rf"a\.npy cannot be read: .*{reason}"):
        read_image(path)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([np.uint16([[0, 3504]]), np.uint16([[1200, 1264]])], (0, 4095)),
        ([np.uint16([[0, 200]])], (0, 255)),
        ([np.int16([[-1000, 400]]), np.int16([[0, 1500]])], (-1000, 1500)),
        ([np.float32([[0, 0.5]]), np.float32([[0, 1]])], None),
        ([np.float32([[-2, 0.5]]), np.float32([[0, np.nan]])], (-2, 0.5)),
        ([np.uint8([[0, 200]])], None),
        ([np.complex64([[0, 1j]]), np.zeros((1, 2), [("red", "u1")])], None),
    ],
)
def test_the_range_is_found_over_all_images(tmp_path, images, expected):
    paths = [str(write(tmp_path / f"{index}.npy", array)) for index, array in enumerate(images)]
    assert range_of(extent_of(paths, PixelFormat())) == expected


def test_pillow_does_not_print_files_of_more_bands_than_it_reads(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 13), np.uint16), planarconfig="contig")
    assert read_image(tmp_path / "a.tif", PixelFormat(13, (0, 1))).shape == (13, 8, 8)
    with pytest.raises(UnreadableImageError, match="it has 8 x 8 x 13 values"):
        read_image(tmp_path / "a.tif")
    assert not caplog.messages


def test_a_range_is_looked_for_in_a_limited_number_of_images(tmp_path, monkeypatch):
    path = str(write(tmp_path / "a.npy", np.uint16([[0, 1000]])))
    opened = []
    load = np.lib.format.open_memmap
    monkeypatch.setattr(
        np.lib.format, "open_memmap", lambda *args, **kw: opened.append(args) or load(*args, **kw)
    )
    assert range_of(extent_of([path] * 1000, PixelFormat())) == (0, 1023)
    assert len(opened) == 100


@pytest.mark.parametrize("suffix", ["tif", "npy"])
@pytest.mark.parametrize("channels", [2, 4, 6])
@pytest.mark.parametrize("first", [False, True])
def test_images_of_many_channels_are_read(tmp_path, suffix, channels, first):
    values = np.random.default_rng(0).integers(0, 255, (8, 12, channels), dtype=np.uint8)
    path = write(tmp_path / f"a.{suffix}", np.moveaxis(values, 2, 0) if first else values)
    image = read_image(path, PixelFormat(channels=channels))
    assert image.permute(1, 2, 0).tolist() == values.tolist()
    assert image_size(path, PixelFormat(channels=channels)) == (8, 12)


def test_a_single_plane_of_numpy_is_grey(tmp_path):
    path = write(tmp_path / "a.npy", np.full((1, 4, 6), 9, np.uint8))
    image = read_image(path)
    assert image.shape == (3, 4, 6)
    assert image.unique().tolist() == [9]


def write_pages(path, *pages):
    """Write a TIFF file of several pages."""
    images = [Image.fromarray(page) for page in pages]
    images[0].save(path, save_all=True, append_images=images[1:])
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_pages_of_a_tiff_file_are_channels(tmp_path, kind):
    pages = [np.full((4, 6), value, kind) for value in (10, 20, 30, 40, 50)]
    pixels = PixelFormat(value_range=(0, 255))
    image = read_image(write_pages(tmp_path / "a.tif", *pages[:3]), pixels)
    assert image.permute(1, 2, 0).tolist() == [[[10, 20, 30]] * 6] * 4
    assert image_size(tmp_path / "a.tif") == (4, 6)
    with pytest.raises(UnreadableImageError, match=r"5 x 4 x 6 values, but data\.channels=3"):
        read_image(write_pages(tmp_path / "b.tif", *pages), pixels)


def test_a_smaller_page_of_a_tiff_file_is_no_part_of_the_image(tmp_path):
    pages = [np.full((4, 6, 3), 10, np.uint8), np.full((2, 3, 3), 99, np.uint8)]
    image = read_image(write_pages(tmp_path / "a.tif", *pages))
    assert (image.shape, image.unique().tolist()) == ((3, 4, 6), [10])


def test_a_fourth_channel_of_a_tiff_file_is_not_left_out(tmp_path):
    values = np.zeros((4, 6, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(UnreadableImageError, match=r"x 4 values, but data\.channels=3"):
        read_image(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", PixelFormat(channels=4)).shape == (4, 4, 6)


def test_a_palette_with_opacity_has_four_channels(tmp_path):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "a.png", transparency=bytes([255, 40]))
    assert read_image(tmp_path / "a.png", PixelFormat(4))[:, 0, 0].tolist() == [10, 20, 30, 40]


def test_the_inks_of_a_print_are_no_four_channels(tmp_path):
    for name in ("a.jpg", "a.tif"):
        Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / name)
        with pytest.raises(UnreadableImageError, match="the inks of a print"):
            read_image(tmp_path / name, PixelFormat(channels=4))
        color = read_image(tmp_path / name)[:, 0, 0].float()
        assert (color - torch.tensor([255.0, 0, 0])).abs().max() < 5


def test_a_file_with_another_number_of_channels_is_named(tmp_path):
    for name in ("a.npy", "a.tif"):
        path = write(tmp_path / name, np.zeros((4, 6, 3), np.uint8))
        with pytest.raises(UnreadableImageError, match=r"x 3 values, but data\.channels=4"):
            read_image(path, PixelFormat(channels=4))


def test_a_missing_package_is_named_with_the_command_to_install_it(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 4), np.uint8))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UnreadableImageError, match="tifffile: uv sync --extra tiff"):
        read_image(tmp_path / "a.tif", PixelFormat(channels=4))


def test_each_channel_is_changed_like_a_grey_image():
    image = torch.randint(0, 255, (5, 8, 8), dtype=torch.uint8)
    torch.manual_seed(0)
    changed = color_jitter(0.5, 5)(image)
    torch.manual_seed(0)
    expected = v2.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)(image[3:4])
    assert torch.equal(changed[3:4], expected)
    assert not torch.equal(changed[3:4], image[3:4])
