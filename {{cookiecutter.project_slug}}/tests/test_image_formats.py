"""The values, the orientation and the channels of image files."""

import sys

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torchvision.transforms import v2

from {{ cookiecutter.package_name }}.data.color import color_jitter
from {{ cookiecutter.package_name }}.data.files import SUFFIXES
from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    image_size,
    read_image,
)
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.data.value_range import find_value_range
# ~ endif
from {{ cookiecutter.package_name }}.evaluation.drawing import to_picture
from {{ cookiecutter.package_name }}.settings.data import PixelFormat
from {{ cookiecutter.package_name }}.training.backbone import normalisation_for

HEIGHT, WIDTH = 40, 60
TWELVE_BITS = PixelFormat(value_range=(0, 4095))


def write(path, values):
    """Write an array as it is, in the format that the suffix names."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif" and values.ndim == 3:
        tifffile.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("suffix", ["tif", "png", "npy"])
def test_values_of_12_bits_are_scaled_by_the_range_and_not_by_their_maximum(tmp_path, suffix):
    for level, expected in ((0, 0), (960, 60), (3200, 199), (4095, 255), (5000, 255)):
        path = write(tmp_path / f"a.{suffix}", np.full((4, 6), level, np.uint16))
        image = read_image(path, TWELVE_BITS)
        assert image.shape == (3, 4, 6)
        assert image.unique().tolist() == [expected]


@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_floats_from_0_to_1_need_no_range(tmp_path, suffix):
    values = np.array([[0.0, 0.25, 1.0, 1.005]], np.float32)
    assert read_image(write(tmp_path / f"a.{suffix}", values))[0].tolist() == [[0, 64, 255, 255]]


def test_colours_of_16_bits_keep_their_low_bits(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 6, 3), (0, 960, 3200), np.uint16))
    assert read_image(tmp_path / "a.tif", TWELVE_BITS)[:, 0, 0].tolist() == [0, 60, 199]
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 65535))
    assert read_image(tmp_path / "a.png", TWELVE_BITS)[:, 0, 0].tolist() == [0, 60, 199]
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 0))
    assert read_image(tmp_path / "a.png", TWELVE_BITS)[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_file_of_16_bits_whose_white_is_zero_is_not_read_as_a_negative(tmp_path, order):
    values = np.uint16([[0, 65535, 257]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="miniswhite", byteorder=order)
    pixels = PixelFormat(value_range=(0, 65535))
    assert read_image(path, pixels)[0].tolist() == [[255, 0, 254]]


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("i1", -128, 127), ("u4", 0, 2**32 - 1), ("i4", -(2**31), 2**31 - 1)]
)
def test_the_sign_of_the_values_of_a_tiff_file_is_read(tmp_path, kind, low, high):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[low, low // 2 + high // 2, high]], kind))
    image = read_image(tmp_path / "a.tif", PixelFormat(value_range=(low, high)))
    assert image[0].tolist() == [[0, 127, 255]]


def test_colours_of_16_bits_are_turned_as_exif_says(tmp_path):
    write_png_of_16_bits(tmp_path / "a.png", (960, 0, 0, 65535), (0, 960, 0, 65535), orientation=3)
    red, green, _ = read_image(tmp_path / "a.png", TWELVE_BITS)[:, :, 0].tolist()
    assert (red, green) == ([0, 60], [60, 0])  # upside down


def write_png_of_16_bits(path, *colors, orientation=1):
    """Write two rows of 2 pixels, each of a color with an opacity, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(name, content):
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    first, *_, last = colors * 2
    rows = b"".join(b"\0" + 2 * struct.pack(">4H", *color) for color in (first, last))
    exif = Image.Exif()
    exif[0x0112] = orientation
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 6, 0, 0, 0)),
        chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 4095]], np.uint16), r"\(uint16, 0 to 4095\) cannot be scaled to 8 bits"),
        (np.array([[0, 80.5]], np.float32), r"\(float32, 0 to 80\.5\) cannot be scaled to 8 bits"),
        (np.array([[0, np.nan]], np.float32), "1 of its values are not numbers or infinite"),
        (np.array([[0, 1j]], np.complex64), "complex64"),
        (np.zeros((4, 6, 5), np.uint8), r"it has 4 x 6 x 5 values, but data\.channels=3"),
        (np.zeros((20_000, 20_000), np.bool_), "it has 20000 x 20000 pixels"),
    ],
)
def test_values_without_a_scale_are_named(tmp_path, values, reason):
    path = write(tmp_path / "a.npy", values)
    with pytest.raises(UnreadableImageError, match=rf"a\.npy cannot be read: .*{reason}"):
        read_image(path)


# ~ if cookiecutter.scope == "complete"
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
    assert find_value_range(paths, PixelFormat()) == expected


def test_opacity_is_no_part_of_the_range(tmp_path):
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 65535))
    assert find_value_range([str(tmp_path / "a.png")], PixelFormat()) == (0, 4095)


def test_a_range_is_looked_for_in_a_limited_number_of_images(tmp_path, monkeypatch):
    path = str(write(tmp_path / "a.npy", np.uint16([[0, 1000]])))
    opened = []
    load = np.lib.format.open_memmap
    monkeypatch.setattr(
        np.lib.format, "open_memmap", lambda *args, **kw: opened.append(args) or load(*args, **kw)
    )
    assert find_value_range([path] * 1000, PixelFormat()) == (0, 1023)
    assert len(opened) == 100


# ~ endif
# The four quadrants of the stored image: red green / blue white. Shown, it is turned to the right.
SHOWN = {
    (10, 10): (0, 0, 255),
    (10, 30): (255, 0, 0),
    (50, 10): (255, 255, 255),
    (50, 30): (0, 255, 0),
}


def quadrants():
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[:20, :30], values[:20, 30:] = (255, 0, 0), (0, 255, 0)
    values[20:, :30], values[20:, 30:] = (0, 0, 255), (255, 255, 255)
    return values


def write_turned(path, parts=()):
    """Write the quadrants with the orientation 6; with parts, as the metadata of a JPEG."""
    exif = Image.Exif()
    exif[0x0112] = 6
    if not parts:
        Image.fromarray(quadrants()).save(path, exif=exif, quality=95)
        return
    Image.fromarray(quadrants()).save(path, quality=95)
    blocks = [b"\xff\xe1" + (len(part) + 2).to_bytes(2) + part for part in parts]
    path.write_bytes(b"\xff\xd8" + b"".join(blocks) + path.read_bytes()[2:])


XMP = (
    b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" %s/></rdf:RDF></x:xmpmeta>'
)
LONG = b"Exif\0\0MM\0*" + bytes.fromhex("00000008 0001 0112 0004 00000001 00000006 00000000")
SHORT = b"Exif\0\0MM\0*" + bytes.fromhex("00000008 0001 0112 0003 00000001 00060000 00000000")


@pytest.mark.parametrize(
    "parts",
    [[SHORT], [LONG], [XMP % b'tiff:Orientation="6"'], [XMP % b'x="1"', SHORT], [SHORT, LONG]],
)
def test_every_form_of_orientation_in_a_jpeg_file_is_applied(tmp_path, parts):
    write_turned(tmp_path / "a.jpg", parts)
    assert_shown(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_the_orientation_is_applied_in_every_format(tmp_path, suffix):
    write_turned(tmp_path / f"a.{suffix}")
    assert_shown(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_the_orientation_of_a_tiff_file_that_pillow_maps_is_applied(tmp_path, mode):
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    image = Image.fromarray(values.astype(np.uint16)) if mode == "I;16" else Image.fromarray(values)
    if mode == "P":
        image.putpalette([index // 3 for index in range(768)])
    exif = Image.Exif()
    exif[0x0112] = 6
    (image.convert("RGBA") if mode == "RGBA" else image).save(tmp_path / "a.tif", exif=exif)
    shown = read_image(tmp_path / "a.tif", PixelFormat(value_range=(0, 255)))
    assert shown.tolist() == [np.rot90(values, -1).tolist()] * 3
    assert image_size(tmp_path / "a.tif") == (6, 4)


def assert_shown(path):
    image = read_image(path)
    assert image.shape == (3, WIDTH, HEIGHT)
    assert image_size(path) == (WIDTH, HEIGHT)
    for (y, x), color in SHOWN.items():
        assert (image[:, y, x] - torch.tensor(color).float()).abs().max() < 30, (y, x)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_that_of_pillow(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("jpg", "png"):
        Image.fromarray(quadrants()).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    shown = read_image(tmp_path / "a.png").float()
    assert (read_image(tmp_path / "a.jpg").float() - shown).abs().mean() < 4
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    tifffile.imwrite(
        tmp_path / "b.tif", np.dstack([values] * 4), extratags=[(274, "H", 1, orientation)]
    )
    Image.fromarray(values).save(tmp_path / "b.png", exif=exif)
    bands = read_image(tmp_path / "b.tif", PixelFormat(channels=4))
    assert torch.equal(bands[:3], read_image(tmp_path / "b.png"))


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


def test_one_channel_is_read_from_grey_files_only(tmp_path):
    grey, reason = PixelFormat(channels=1), r"3 (channels|values), but data\.channels=1"
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.new("L", (6, 4), 90).save(tmp_path / name)
        assert read_image(tmp_path / name, grey).tolist() == [[[90] * 6] * 4]
        Image.new("RGB", (6, 4)).save(tmp_path / name)
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(tmp_path / name, grey)


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


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    for suffix in ("jpg", "png"):
        Image.new("RGB", (6, 4)).save(tmp_path / f"a.{suffix}", exif=exif)
        assert read_image(tmp_path / f"a.{suffix}").shape == (3, 4, 6)
        assert image_size(tmp_path / f"a.{suffix}") == (4, 6)


def test_a_file_with_another_number_of_channels_is_named(tmp_path):
    for name, values in (("a.npy", np.zeros((4, 6, 3), np.uint8)), ("a.tif", quadrants())):
        path = write(tmp_path / name, values)
        with pytest.raises(UnreadableImageError, match=r"x 3 values, but data\.channels=4"):
            read_image(path, PixelFormat(channels=4))


def test_a_missing_package_is_named_with_the_command_to_install_it(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 4), np.uint8))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UnreadableImageError, match="tifffile: uv sync --extra tiff"):
        read_image(tmp_path / "a.tif", PixelFormat(channels=4))


def test_mean_and_deviation_are_repeated_for_further_channels():
    normalise = normalisation_for((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), 5)
    assert normalise.mean.flatten().tolist() == pytest.approx([51, 102, 153, 51, 102])
    assert normalise.std.flatten().tolist() == pytest.approx([25.5, 51, 76.5, 25.5, 51])
    single = normalisation_for((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), 1)
    assert (single.mean.item(), single.std.item()) == pytest.approx((102, 51))


def test_each_channel_is_changed_like_a_grey_image():
    image = torch.randint(0, 255, (5, 8, 8), dtype=torch.uint8)
    torch.manual_seed(0)
    changed = color_jitter(0.5, 5)(image)
    torch.manual_seed(0)
    expected = v2.ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)(image[3:4])
    assert torch.equal(changed[3:4], expected)
    assert not torch.equal(changed[3:4], image[3:4])


def test_pictures_show_the_first_three_channels_or_grey():
    image = torch.tensor([10, 20, 30, 40], dtype=torch.uint8)[:, None, None].expand(4, 2, 2)
    assert to_picture(image).getpixel((0, 0)) == (10, 20, 30)
    assert to_picture(image[:2]).getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.parametrize(
    ("size", "shown"),
    [((600, 1), (60_000, 100)), ((2, 200), (4, 400)), ((1, 70_000), (1, 60_000))],
)
def test_pictures_of_any_shape_fit_into_a_jpeg_file(size, shown):
    picture = to_picture(torch.zeros(3, *size, dtype=torch.uint8), 256)
    assert (picture.height, picture.width) == shown


def test_avif_is_read_where_pillow_reads_it(tmp_path):
    if ".avif" not in SUFFIXES:
        pytest.skip("This Pillow has no AVIF.")
    Image.new("RGB", (6, 4), (10, 200, 90)).save(tmp_path / "a.avif", quality=95)
    color = read_image(tmp_path / "a.avif")[:, 0, 0].float()
    assert (color - torch.tensor([10.0, 200, 90])).abs().max() < 6
