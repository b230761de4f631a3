"""The values and the orientation of image files."""

# ~ if cookiecutter.scope == "complete"
from types import SimpleNamespace

# ~ endif
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps, features

from {{ cookiecutter.package_name }}.data.files import SUFFIXES
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    image_size,
    read_image,
)
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.data.value_range import (
    extent_of,
    range_of,
    with_value_range,
)
# ~ elif cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    image_size,
    read_image,
)
# ~ else
from {{ cookiecutter.package_name }}.data.images import (
    UnreadableImageError,
    read_image,
)
# ~ endif
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ endif
from {{ cookiecutter.package_name }}.evaluation.drawing import to_picture
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.settings.check_settings import check
# ~ endif
from {{ cookiecutter.package_name }}.settings.data import PixelFormat
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.settings.schema import Settings
# ~ endif
from {{ cookiecutter.package_name }}.training.backbone import normalisation_for

# ~ if cookiecutter.scope == "complete"
from small import OWN, composed

# ~ endif
HEIGHT, WIDTH = 40, 60
TWELVE_BITS = PixelFormat(value_range=(0, 4095))


def write(path, values):
    """Write an array as it is, in the format that the suffix names."""
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_values_of_12_bits_are_scaled_by_the_range_and_not_by_their_maximum(tmp_path, suffix):
    for level, expected in ((0, 0), (960, 60), (3200, 199), (4095, 255), (5000, 255)):
        path = write(tmp_path / f"a.{suffix}", np.full((4, 6), level, np.uint16))
        image = read_image(path, TWELVE_BITS)
        assert image.shape == (3, 4, 6)
        assert image.unique().tolist() == [expected]


def test_floats_from_0_to_1_need_no_range(tmp_path):
    values = np.array([[0.0, 0.25, 1.0, 1.005]], np.float32)
    assert read_image(write(tmp_path / "a.tif", values))[0].tolist() == [[0, 64, 255, 255]]


def test_colours_of_16_bits_keep_their_low_bits(tmp_path):
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 65535))
    assert read_image(tmp_path / "a.png", TWELVE_BITS)[:, 0, 0].tolist() == [0, 60, 199]
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 0))
    assert read_image(tmp_path / "a.png", TWELVE_BITS)[:, 0, 0].tolist() == [255, 255, 255]


# ~ if cookiecutter.scope == "complete"
@pytest.mark.parametrize("order", ["<", ">"])
# ~ else
@pytest.mark.parametrize("order", ["<"])  # Pillow does not know the other order
# ~ endif
def test_a_tiff_file_of_16_bits_whose_white_is_zero_is_not_read_as_a_negative(tmp_path, order):
    values = np.uint16([[0, 65535, 257]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="miniswhite", byteorder=order)
    pixels = PixelFormat(value_range=(0, 65535))
    assert read_image(path, pixels)[0].tolist() == [[255, 0, 254]]


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
    ],
)
def test_values_without_a_scale_are_named(tmp_path, values, reason):
    path = write(tmp_path / "a.tif", values)
    with pytest.raises(UnreadableImageError, match=rf"a\.tif cannot be read: .*{reason}"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.host/spec/v1\noid sha256:0\n", r"Git LFS, .*git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", r"it is a text, which starts with b'<!DOCTYPE html>"),
        (b"", r"it is damaged, or its format is not known"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_files_that_are_no_images_are_named_as_what_they_are(tmp_path, suffix, content, reason):
    (tmp_path / f"a.{suffix}").write_bytes(content)
    with pytest.raises(UnreadableImageError, match=rf"a\.{suffix} cannot be read: .*{reason}"):
        read_image(tmp_path / f"a.{suffix}")


def test_a_thumbnail_on_the_first_page_is_not_taken_for_the_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((4, 6), np.uint8), subfiletype=1)
        file.write(np.zeros((40, 60), np.uint8))
    with pytest.raises(UnreadableImageError, match="its first page is a thumbnail"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bounds", ["[5,5]", "[0]", "yes"])
def test_a_range_that_is_none_is_refused(train, bounds):
    with pytest.raises(SystemExit, match=r"data\.value_range"):
        train(f"data.value_range={bounds}")


# ~ if cookiecutter.scope == "complete"
class Split(SimpleNamespace):
    def __len__(self):
        return len(self.paths)


def test_values_of_another_split_beyond_the_range_are_noted(tmp_path):
    splits = {}
    for split, value in (("train", 4000), ("val", 3900), ("test", 60000)):
        write_png_of_16_bits(tmp_path / f"{split}.png", (value, 0, 0, 65535))
        splits[split] = Split(paths=[str(tmp_path / f"{split}.png")], images=SimpleNamespace())
    datasets = SimpleNamespace(reading=Reading(), **splits)
    settings = check(composed(OWN, f"data.root={tmp_path}", "tracking=none"), Settings)
    assert with_value_range(settings, datasets).data.value_range == (0, 4095)
    found, beyond = datasets.reading.notes
    assert found.startswith("data.value_range=[0,4095]")
    assert beyond.startswith("The values of test are from 0 to 60000, which does not fit")
    write_png_of_16_bits(tmp_path / "test.png", (200, 0, 0, 65535))
    datasets.reading.notes.clear()
    with_value_range(settings, datasets)
    assert datasets.reading.notes[1].startswith("The values of test are from 0 to 200, which")
    datasets.test.paths, datasets.reading.notes = datasets.val.paths, []
    with_value_range(settings, datasets)
    assert len(datasets.reading.notes) == 1


def test_floats_from_0_to_1_and_whole_numbers_have_no_common_scale(tmp_path):
    np.save(tmp_path / "a.npy", np.full((4, 5), 0.5, np.float32))
    write_png_of_16_bits(tmp_path / "b.png", (32000, 0, 0, 65535))
    paths = [str(tmp_path / "a.npy"), str(tmp_path / "b.png")]
    with pytest.raises(UsageError, match=r"a\.npy has numbers from 0 to 1, but .*b\.png whole"):
        extent_of(paths, PixelFormat())


def test_opacity_is_no_part_of_the_range(tmp_path):
    write_png_of_16_bits(tmp_path / "a.png", (0, 960, 3200, 65535))
    assert range_of(extent_of([str(tmp_path / "a.png")], PixelFormat())) == (0, 4095)


def notes_on(tmp_path, given=None, **images):
    """Return the range and the notes about splits, each of the arrays that are given."""
    splits = {}
    for split, arrays in images.items():
        paths = [str(tmp_path / f"{split}{index}.npy") for index in range(len(arrays))]
        for path, values in zip(paths, arrays, strict=True):
            np.save(path, values)
        splits[split] = Split(paths=paths, images=SimpleNamespace())
    datasets = SimpleNamespace(reading=Reading(), **{"test": splits["val"], **splits})
    words = (OWN, f"data.root={tmp_path}", "tracking=none", f"data.value_range={given or 'null'}")
    settings = with_value_range(check(composed(*words), Settings), datasets)
    return settings.data.value_range, datasets.reading.notes


def test_values_that_a_given_range_does_not_fit_are_noted(tmp_path):
    bright, fitting = np.full((4, 5), 3000, np.uint16), np.full((4, 5), 200, np.uint16)
    bounds, notes = notes_on(tmp_path, "[0,255]", train=[bright], val=[fitting])
    assert bounds == (0, 255)
    (note,) = notes
    start = "The values of train are from 3000 to 3000, which does not fit data.value_range=[0,255]"
    assert note.startswith(start)


def test_whole_numbers_of_0_and_1_are_noted_also_in_train(tmp_path):
    values = np.eye(4, dtype=np.uint16)
    _, notes = notes_on(tmp_path, train=[values], val=[values])
    beyond = [note.partition(",")[0] for note in notes[1:]]
    assert beyond == [f"The values of {split} are from 0 to 1" for split in ("train", "val")]


def test_pixels_that_were_not_measured_are_no_part_of_the_range(tmp_path):
    values = np.float32([[-3.4e38, 100, 500, 3.4e38]])
    assert notes_on(tmp_path, train=[values], val=[values])[0] == (100, 500)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (np.float32, -9999, (100, 900)),
        (np.int16, -32768, (0, 1023)),
        (np.uint16, 65535, (0, 1023)),
        (np.int16, -850, (-850, 900)),
        (np.int16, 3000, (0, 4095)),
    ],
)
def test_an_extreme_value_that_is_far_from_all_others_is_no_part_of_the_range(
    tmp_path, kind, value, expected
):
    images = [np.array([[100, 500, 900, value]], kind), np.array([[200, 500]], kind)]
    bounds, notes = notes_on(tmp_path, train=images, val=images[1:])
    assert bounds == expected
    found = f"The value {value} in {tmp_path / 'train0.npy'} is far from all others"
    assert [note.startswith(found) for note in notes[1:]] == [True] * (abs(value) > 3000)


def test_a_pixel_far_from_all_others_that_is_not_cut_off_is_not_noted(tmp_path):
    images = [np.array([[29000, 30000, 31000, 5000]], np.uint16), np.array([[30000]], np.uint16)]
    bounds, notes = notes_on(tmp_path, train=images, val=images[1:])
    assert bounds == (0, 32767)
    assert len(notes) == 1


def test_images_of_8_bits_among_others_are_counted(tmp_path):
    deep, bytes_ = np.full((4, 5), 2000, np.uint16), np.full((4, 5), 100, np.uint8)
    _, notes = notes_on(tmp_path, train=[deep, bytes_], val=[deep, deep])
    small, large = tmp_path / "train1.npy", tmp_path / "train0.npy"
    assert notes[1].startswith(f"1 of 4 images that were looked at, such as {small}, have 8 bits")
    assert f"but the others, such as {large}, have more" in notes[1]
    assert len(notes_on(tmp_path, train=[deep], val=[deep])[1]) == 1
    assert not notes_on(tmp_path, train=[bytes_], val=[bytes_])[1]


# ~ else
@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.zeros((4, 6, 3), np.uint16), {"photometric": "rgb"}),
        (np.zeros((4, 6, 4), np.uint8), {"photometric": "rgb", "extrasamples": ["unspecified"]}),
        (np.zeros((2, 4, 6), np.uint8), {"photometric": "minisblack"}),
        (np.zeros((4, 6), np.int8), {}),
        (np.zeros((4, 6), np.uint32), {}),
    ],
    ids=["colours of 16 bits", "a fourth channel", "two pages", "signed bytes", "32 bits"],
)
def test_tiff_files_that_would_be_misread_are_refused(tmp_path, values, options):
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    with pytest.raises(UnreadableImageError, match=r"a\.tif .* save each page as a PNG file"):
        read_image(tmp_path / "a.tif", TWELVE_BITS)


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
    # ~ if cookiecutter.scope == "complete" or cookiecutter.task != "classification"
    assert image_size(tmp_path / "a.tif") == (6, 4)
    # ~ endif
    assert shown.tolist() == [np.rot90(values, -1).tolist()] * 3


def assert_shown(path):
    image = read_image(path)
    assert image.shape == (3, WIDTH, HEIGHT)
    # ~ if cookiecutter.scope == "complete" or cookiecutter.task != "classification"
    assert image_size(path) == (WIDTH, HEIGHT)
    # ~ endif
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
    with Image.open(tmp_path / "a.png") as stored:
        expected = torch.from_numpy(np.array(ImageOps.exif_transpose(stored))).permute(2, 0, 1)
    assert torch.equal(shown, expected.float())


def test_one_channel_is_read_from_grey_files_only(tmp_path):
    grey, reason = PixelFormat(channels=1), r"3 (channels|values), but data\.channels=1"
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.new("L", (6, 4), 90).save(tmp_path / name)
        assert read_image(tmp_path / name, grey).tolist() == [[[90] * 6] * 4]
        Image.new("RGB", (6, 4)).save(tmp_path / name)
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(tmp_path / name, grey)


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    for suffix in ("jpg", "png"):
        Image.new("RGB", (6, 4)).save(tmp_path / f"a.{suffix}", exif=exif)
        # ~ if cookiecutter.scope == "complete" or cookiecutter.task != "classification"
        assert image_size(tmp_path / f"a.{suffix}") == (4, 6)
        # ~ endif
        assert read_image(tmp_path / f"a.{suffix}").shape == (3, 4, 6)


def test_mean_and_deviation_are_repeated_for_further_channels():
    normalise = normalisation_for((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), 5)
    assert normalise.mean.flatten().tolist() == pytest.approx([51, 102, 153, 51, 102])
    assert normalise.std.flatten().tolist() == pytest.approx([25.5, 51, 76.5, 25.5, 51])
    single = normalisation_for((0.2, 0.4, 0.6), (0.1, 0.2, 0.3), 1)
    assert (single.mean.item(), single.std.item()) == pytest.approx((102, 51))


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
    if not features.check("avif"):
        pytest.skip("This Pillow has no AVIF.")
    assert ".avif" in SUFFIXES
    Image.new("RGB", (6, 4), (10, 200, 90)).save(tmp_path / "a.avif", quality=95)
    color = read_image(tmp_path / "a.avif")[:, 0, 0].float()
    assert (color - torch.tensor([10.0, 200, 90])).abs().max() < 6
