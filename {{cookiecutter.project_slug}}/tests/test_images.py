import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    read_image,
)
from {{ cookiecutter.package_name }}.settings.data import PixelFormat

from small import composed

WIDTH, HEIGHT = 24, 16


@pytest.fixture
def picture():
    """Smooth colours, so that lossy formats stay near; top left is dark, bottom right is bright."""
    x, y = np.meshgrid(np.linspace(0, 120, WIDTH), np.linspace(0, 120, HEIGHT))
    return Image.fromarray(np.stack([x + y, x, y], axis=2).astype(np.uint8))


def assert_like(path, expected, tolerance):
    image = read_image(path)
    assert image.dtype == torch.uint8
    expected = torch.from_numpy(np.asarray(expected.convert("RGB")).copy()).permute(2, 0, 1)
    assert image.shape == expected.shape
    assert (image.float() - expected.float()).abs().mean() < tolerance


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "jpg"])
def test_a_colour_image_is_read_from_any_format(tmp_path, picture, suffix):
    picture.save(tmp_path / f"a.{suffix}", quality=95)
    assert_like(tmp_path / f"a.{suffix}", picture, tolerance=6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_grey_becomes_three_equal_channels(tmp_path, picture, suffix):
    grey = picture.convert("L")
    grey.save(tmp_path / f"a.{suffix}", quality=95)
    assert_like(tmp_path / f"a.{suffix}", grey, tolerance=2)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_palette_is_looked_up(tmp_path, picture, suffix):
    palette = picture.quantize(64)
    palette.save(tmp_path / f"a.{suffix}")
    assert_like(tmp_path / f"a.{suffix}", palette, tolerance=2)


def test_cmyk_is_converted_to_rgb(tmp_path, picture):
    inks = picture.convert("CMYK")
    inks.save(tmp_path / "a.jpg", quality=95)
    assert_like(tmp_path / "a.jpg", inks, tolerance=4)


def test_transparent_parts_are_white(tmp_path, picture):
    picture.putalpha(Image.new("L", picture.size, 0))
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").min() == 255


def test_a_transparent_palette_entry_is_white(tmp_path):
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30])
    picture.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").min() == 255


def test_a_png_that_is_named_jpg_is_read(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert_like(tmp_path / "a.jpg", picture, tolerance=1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("length", [0, 10, 200])
def test_a_cut_off_file_is_named(tmp_path, suffix, length):
    path = tmp_path / f"broken.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UnreadableImageError, match=rf"broken\.{suffix} cannot be read"):
        read_image(path)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(("progressive", "share"), [(False, 0.1), (False, 0.9), (True, 0.3)])
def test_a_jpeg_file_that_ends_early_with_an_end_marker_is_named(
    tmp_path, mode, progressive, share
):
    path = tmp_path / "broken.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, progressive=progressive)
    assert read_image(path).shape == (3, 64, 48)
    content = path.read_bytes()
    start = content.index(b"\xff\xda")  # of the pixels
    end = start + int((len(content) - start) * share)
    path.write_bytes(content[:end] + b"\0\xff\xd9")
    with pytest.raises(
        UnreadableImageError, match=r"broken\.jpg cannot be read: .*(ends early|trunc)"
    ):
        read_image(path)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_whole_jpeg_file_with_a_grey_corner_is_read(tmp_path, progressive):
    for mode, color in (("L", 128), ("RGB", (128, 128, 128)), ("CMYK", (127, 127, 127, 127))):
        Image.new(mode, (24, 16), color).save(tmp_path / "a.jpg", progressive=progressive)
        assert read_image(tmp_path / "a.jpg").shape == (3, 16, 24)


def claim(path, width, height):
    """Write an image of 8 x 8 pixels whose header claims another size."""
    Image.new("RGB", (8, 8)).save(path)
    content = path.read_bytes()
    if path.suffix == ".png":
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        content = content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    else:
        place = content.index(b"\xff\xc0") + 5
        content = content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "png.jpg", "filled.jpg"])
def test_an_image_of_more_pixels_than_the_limit_is_refused_before_it_is_decoded(tmp_path, name):
    path = tmp_path / name
    claim(path if name != "png.jpg" else tmp_path / "a.png", 60_000, 60_000)
    if name == "png.jpg":
        (tmp_path / "a.png").rename(path)
    elif name == "filled.jpg":  # fill bytes in front of a marker are allowed
        path.write_bytes(path.read_bytes().replace(b"\xff\xc0", b"\xff\xff\xff\xc0", 1))
    with pytest.raises(UnreadableImageError, match=rf"{name} cannot be read: it has 60000 x 60000"):
        read_image(path)


def test_the_limit_of_pixels_is_a_setting(tmp_path, picture):
    for name in ("a.jpg", "a.png"):
        picture.save(tmp_path / name)
        read_image(tmp_path / name, PixelFormat(max_pixels=WIDTH * HEIGHT))
        with pytest.raises(UnreadableImageError, match=r"more than data\.max_pixels=383"):
            read_image(tmp_path / name, PixelFormat(max_pixels=WIDTH * HEIGHT - 1))
    assert composed().data.max_pixels == PixelFormat().max_pixels
