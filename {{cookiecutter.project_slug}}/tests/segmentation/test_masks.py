import re
import shutil
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.evaluation.drawing import GAP
from {{ cookiecutter.package_name }}.segmentation.class_list import (
    Classes,
    read_classes,
)
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.draw import (
    MIN_WIDTH,
    # ~ if cookiecutter.scope == "complete"
    draw_frame,
    # ~ endif
    draw_prediction,
)
from {{ cookiecutter.package_name }}.segmentation.masks import read_mask
from {{ cookiecutter.package_name }}.segmentation.predicted_masks import (
    Prediction,
    mask_image,
    palette,
)
from {{ cookiecutter.package_name }}.segmentation.transforms import train_transform
from {{ cookiecutter.package_name }}.settings.data import ShapesSettings
from {{ cookiecutter.package_name }}.settings.segmentation import MaskFolderSettings

from small import data_preset, loader_settings, write_unsplit_data

AUGMENT = data_preset("shapes")["augment"] | {"crop_scale": 0.5, "rotate": 20, "color": 0.2}
TWO = Classes(["blue", "red"], {0x0000FF: 0, 0xFF0000: 1})


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
    settings = data_preset("maskfolder") | {"root": root, "image_size": 32, "augment": AUGMENT}
    return MaskFolderSettings.model_validate(settings | changes)


def test_shapes_have_every_class_some_overlap_and_some_are_empty(tmp_path):
    train = build_datasets(shapes(tmp_path, train_images=60)).train
    masks = [np.asarray(Image.open(path)) for path in train.masks.paths]
    assert set(np.unique(np.stack(masks))) == set(range(6))
    assert any(mask.max() == 0 for mask in masks)
    neighbours = [(mask[:, 1:], mask[:, :-1]) for mask in masks]
    assert any(((left != right) & (left > 0) & (right > 0)).any() for left, right in neighbours)
    assert any(mask[0].any() or mask[-1].any() for mask in masks)


def test_shapes_are_the_same_every_time(tmp_path):
    first = build_datasets(shapes(tmp_path / "a")).val
    second = build_datasets(shapes(tmp_path / "b")).val
    for index in range(len(first)):
        assert torch.equal(first[index].image, second[index].image)
        assert torch.equal(first[index].target, second[index].target)


def test_grey_and_palette_masks_contain_ids(tmp_path):
    ids = torch.tensor([[0, 1], [255, 1]], dtype=torch.uint8)
    Image.fromarray(ids.numpy()).save(tmp_path / "grey.png")
    mask_image(ids).save(tmp_path / "palette.png")
    assert torch.equal(read_mask(str(tmp_path / "grey.png"), TWO, (2, 2)), ids)
    assert torch.equal(read_mask(str(tmp_path / "palette.png"), TWO, (2, 2)), ids)


def test_colours_are_looked_up(tmp_path):
    picture = Image.new("RGB", (2, 1), (0, 0, 255))
    picture.putpixel((1, 0), (255, 0, 0))
    picture.save(tmp_path / "a.png")
    assert read_mask(str(tmp_path / "a.png"), TWO, (1, 2)).tolist() == [[0, 1]]


def test_an_unknown_colour_is_named(tmp_path):
    Image.new("RGB", (2, 1), (1, 2, 3)).save(tmp_path / "a.png")
    with pytest.raises(
        UnreadableImageError, match=r"a\.png cannot be read: its colour \(1, 2, 3\)"
    ):
        read_mask(str(tmp_path / "a.png"), TWO, (1, 2))


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (7, r"0 to 1, and 255 .* masks, name further classes, or the greys of all classes, as in"),
        (514, r"masks, perhaps by dividing all values by 257"),
        (254, r"masks, perhaps by saving TIFF files in which 0 is black"),
        (-1, r"255 for pixels to ignore: write them into the masks\.$"),
        (700, r"write them into the masks\.$"),
    ],
)
def test_an_unknown_id_is_named_with_what_the_masks_should_hold(tmp_path, value, remedy):
    Image.fromarray(np.int32([[0, value]])).save(tmp_path / "a.tif")
    reason = rf"the ids \[{value}\], but the classes end at 1\.\nThe ids are the lines"
    with pytest.raises(UnreadableImageError, match=rf"{reason} of classes\.txt, .*{remedy}"):
        read_mask(str(tmp_path / "a.tif"), TWO, (1, 2))


def test_values_that_jpeg_has_changed_are_explained(tmp_path):
    Image.fromarray(np.full((8, 8), 254, np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImageError, match="masks, and save these as PNG"):
        read_mask(str(tmp_path / "a.jpg"), TWO, (8, 8))


def test_ids_that_count_from_1_are_named(tmp_path):
    Image.fromarray(np.uint8([[1, 2, 3]])).save(tmp_path / "a.png")
    classes = Classes(["pet", "background", "border"], {})
    with pytest.raises(UnreadableImageError, match=r"\[3\].*\n.*, or name id 0 on a line before"):
        read_mask(str(tmp_path / "a.png"), classes, (1, 3))


@pytest.mark.parametrize("mode", ["LA", "RGB", "RGBA"])
def test_channels_of_16_bits_are_refused_as_pillow_drops_their_low_bits(tmp_path, mode):
    path = tmp_path / "a.png"
    Image.new(mode, (4, 1)).save(path)
    content = bytearray(path.read_bytes())  # the header: width, height, bits ..., a checksum
    content[16:20], content[24] = (2).to_bytes(4, "big"), 16
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"several channels of 16 bits: save the same"):
        read_mask(str(path), TWO, (1, 2))


def test_a_tiff_file_of_a_type_that_is_not_read_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((1, 2)))
    with pytest.raises(UnreadableImageError, match="values of another type than whole numbers"):
        read_mask(str(tmp_path / "a.tif"), TWO, (1, 2))


def test_colours_of_a_tiff_file_of_16_bits_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((1, 2, 3), np.uint16), photometric="rgb")
    with pytest.raises(UnreadableImageError, match=r"several channels of 16 bits"):
        read_mask(str(tmp_path / "a.tif"), TWO, (1, 2))


@pytest.mark.parametrize("suffix", ["tif", "gif", "png"])
def test_a_mask_of_several_pages_is_refused(tmp_path, suffix):
    first, second = Image.new("L", (2, 1), 1), Image.new("L", (2, 1), 0)
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(UnreadableImageError, match="it has 2 pages or frames, but"):
        read_mask(str(path), TWO, (1, 2))


def test_a_mask_of_another_size_is_named(own_data):
    Image.new("L", (10, 10)).save(own_data / "masks" / "val" / "3.png")
    module = DataModule(
        build_datasets(folder(own_data)),
        loader_settings(batch_size=10, workers=0),
        skip_unreadable=False,
    )
    reason = r"3\.png cannot be read: it is 10 x 10 pixels, but its image is 48 x 40"
    with pytest.raises(UsageError, match=reason):
        [module.on_before_batch_transfer(batch, 0) for batch in module.val_dataloader()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_class_names_are_read_with_and_without_colours(tmp_path, encoding):
    path = tmp_path / "classes.txt"
    path.write_text(
        "# the names\nroad 128 64 128\nside walk 1 2 3\nsky\nred #Ff0010\n", encoding=encoding
    )
    classes = read_classes(path)
    assert classes.names == ["road", "side walk", "sky", "red"]
    assert classes.colors == {0x804080: 0, 0x010203: 1, 0xFF0010: 3}


@pytest.mark.parametrize(
    "line", ["side walk,1,2,3", "side walk: 1, 2, 3", "side walk (1, 2, 3)", "side walk;1;2;3;"]
)
def test_colours_may_be_separated_by_commas(tmp_path, line):
    (tmp_path / "classes.txt").write_text(f"name,r,g,b\ncat, dog\n{line}\n")
    classes = read_classes(tmp_path / "classes.txt")
    assert classes == Classes(["cat, dog", "side walk"], {0x010203: 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2 300\nb\n", "the numbers of 'a 1 2 300' must end at 255"),
        ("only\n", "must name 2 to 255 classes, each on a line of its own, but names 1: only"),
        ("sky, road\n", "must name 2 to 255 classes, each on a line .*, but names 1: sky, road"),
        ("\n".join(map(str, range(256))), "must name 2 to 255 classes, .* but names 256"),
        ("a\nb\na\n", "names a class twice: a, b, a"),
        ("1 road\n0 sky\n", "the class '1 road' begins with 1, but its id is 0, as its line says"),
        ("id,name\n0,sky\n1,road\n", "its first line, 'id,name', looks like a header"),
        ("name;hex\nsky;#000000\nroad;#804080\n", "its first line, 'name;hex', looks like"),
        ("label\nsky\nroad\n", "its first line, 'label', looks like a header"),
        ("- sky\n- road\n", "'- sky' is no plain name"),
        ('"sky"\n"road"\n', "'\"sky\"' is no plain name"),
        ("sky,\nroad,\n", "'sky,' is no plain name"),
        ("sky,0,0,0,0\nroad,128,64,128,1\n", "'sky,0' is no plain name"),
        ('["sky", "road"]\n', r"'\[\"sky\", \"road\"\]' is no plain name"),
        ("1: sky\n2: road\n", "the class '1: sky' begins with 1, but its id is 0"),
    ],
)
def test_classes_without_an_id_or_a_colour_are_refused(tmp_path, text, message):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(UsageError, match=rf"classes\.txt:? {message}"):
        read_classes(tmp_path / "classes.txt")


def test_a_colour_of_two_classes_is_refused_where_colours_tell_the_class(tmp_path):
    (tmp_path / "classes.txt").write_text("sky 0 0 0\nroad 1 2 3\nego car 0 0 0\n")
    classes = read_classes(tmp_path / "classes.txt")
    Image.fromarray(np.array([[0, 1, 2]], np.uint8)).save(tmp_path / "a.png")
    assert read_mask(str(tmp_path / "a.png"), classes, (1, 3)).tolist() == [[0, 1, 2]]
    Image.new("RGB", (3, 1)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"\(0, 0, 0\) is that of several classes"):
        read_mask(str(tmp_path / "a.png"), classes, (1, 3))


def test_a_class_without_a_colour_is_named_where_the_others_have_colours(tmp_path):
    (tmp_path / "classes.txt").write_text("background\nroad 1 2 3\n")
    classes = read_classes(tmp_path / "classes.txt")
    Image.new("RGB", (3, 1)).save(tmp_path / "a.png")
    with pytest.raises(UnreadableImageError, match=r"txt, where 'background' has no colour"):
        read_mask(str(tmp_path / "a.png"), classes, (1, 3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classes.txt", "Write a class name in each line"),
        ("images/train", "has no images for train"),
        ("masks/val", "masks/val is missing"),
        ("masks/train/3.png", r"3\.jpg has no mask in .*: 1\.\nAdd .* masks, here 3\.png"),
    ],
)
def test_a_missing_file_or_folder_is_named(own_data, name, message):
    (own_data / name).rename(own_data / "elsewhere")
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(own_data))


def pairs_of(dataset, root):
    """The images and masks of a data set, relative to its folder."""
    both = zip(dataset.paths, dataset.masks.paths, strict=True)
    return [[Path(path).relative_to(root).as_posix() for path in pair] for pair in both]


def test_folders_of_splits_may_hold_images_and_masks(own_data):
    for split, name in (("train", "Train"), ("val", "valid")):
        (own_data / name).mkdir()
        (own_data / "images" / split).rename(own_data / name / "images")
        (own_data / "masks" / split).rename(own_data / name / "labels")
    for name in ("images", "masks"):
        shutil.rmtree(own_data / name)
        (own_data / name).mkdir()  # left empty
    datasets = build_datasets(folder(own_data))
    assert pairs_of(datasets.train, own_data)[3] == ["Train/images/3.jpg", "Train/labels/3.png"]
    assert pairs_of(datasets.val, own_data)[3] == ["valid/images/3.jpg", "valid/labels/3.png"]
    assert pairs_of(datasets.test, own_data) == pairs_of(datasets.val, own_data)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("img_dir/{}/{}.jpg", "ann_dir/{}/{}.png"),
        ("images/{}/{}.jpg", "masks/{}/{}_mask.png"),
        ("images/{}/{}.jpg", "masks/{}/{}.jpg.png"),
        ("{}/{}.jpg", "{}/{}_mask.png"),
        ("{}/city/{}_leftImg8bit.jpg", "{}/city/{}_leftImg8bit_mask.png"),
        ("leftImg8bit/{}/a/{}_leftImg8bit.jpg", "gtFine/{}/a/{}_gtFine_labelTrainIds.png"),
    ],
    ids=["mmsegmentation", "Carvana", "with a suffix", "beside", "in a folder", "Cityscapes"],
)
def test_masks_of_other_names_and_folders_are_matched(own_data, tmp_path, image, mask):
    root = tmp_path / "moved"
    for split in ("train", "val", "test"):
        for place, source in ((image, "images/{}/{}.jpg"), (mask, "masks/{}/{}.png")):
            for index in range(10):
                target = root / place.format(split, index)
                target.parent.mkdir(parents=True, exist_ok=True)
                (own_data / source.format(split, index)).rename(target)
    (own_data / "classes.txt").rename(root / "classes.txt")
    datasets = build_datasets(folder(root))
    expected = [[image.format("val", i), mask.format("val", i)] for i in range(10)]
    assert pairs_of(datasets.val, root) == expected
    assert datasets.val.masks(3, (40, 48)).sum() == 23 * 40
    assert datasets.reading.images == {"train": 10, "val": 10, "test": 10}
    assert not datasets.reading.left_out
    (root / "test").mkdir(exist_ok=True)  # does not make these folders those of the splits
    build_datasets(folder(root))
    (root / mask.format("val", 4)).rename(root / "elsewhere.png")
    name = Path(mask.format("val", 4)).name
    with pytest.raises(UsageError, match=rf"\.jpg has no mask in .*: 1\.\nAdd .*[ /]{name}, or"):
        build_datasets(folder(root))


def test_of_several_masks_of_an_image_those_of_the_trained_classes_are_used(own_data):
    for path in [*(own_data / "masks").glob("*/*.png")]:
        shutil.copy(path, path.with_name(f"{path.stem}_gtFine_color.png"))
        path.rename(path.with_name(f"{path.stem}_gtFine_labelIds.png"))
    expected = r"masks each, which end in _gtFine_color, _gtFine_labelIds\.\nKeep"
    with pytest.raises(UsageError, match=expected):
        build_datasets(folder(own_data))
    for path in [*(own_data / "masks").glob("*/*Ids.png")]:
        shutil.copy(path, path.with_name(path.name.replace("Ids", "TrainIds")))
    masks = build_datasets(folder(own_data)).train.masks.paths
    assert {path.rpartition("_")[2] for path in masks} == {"labelTrainIds.png"}


def test_a_folder_of_other_files_is_refused_with_the_formats_that_are_read(own_data):
    for path in (own_data / "images" / "train").iterdir():
        path.rename(path.with_suffix(".nii"))
    with pytest.raises(UsageError, match=r"images/train has no images of .*\.png.*\n.* convert"):
        build_datasets(folder(own_data))


def test_masks_beside_images_without_splits_are_split(tmp_path):
    write_unsplit_data(tmp_path / "both")
    for path in (tmp_path / "both" / "masks").iterdir():
        path.rename(tmp_path / "both" / "images" / f"{path.stem}_mask.png")
    root = (tmp_path / "both" / "images").rename(tmp_path / "photos")
    (tmp_path / "both" / "classes.txt").rename(root / "classes.txt")
    datasets = build_datasets(folder(root))
    parts = [datasets.train, datasets.val, datasets.test]
    pairs = [pair for part in parts for pair in pairs_of(part, root)]
    assert sorted(pairs) == sorted([f"{i}.jpg", f"{i}_mask.png"] for i in range(20))


def test_a_mask_with_an_ending_is_not_used_beside_one_without(own_data):
    masks = own_data / "masks" / "train"
    for index in range(1, 10):
        (masks / f"{index}.png").rename(masks / f"{index}_mask.png")
    shutil.copy(masks / "1_mask.png", masks / "0_mask.png")
    with pytest.raises(UsageError, match=r"1\.jpg has no mask in .*: 9\."):
        build_datasets(folder(own_data))


def test_lists_split_the_images_that_have_masks(tmp_path):
    write_unsplit_data(tmp_path)
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    (tmp_path / "masks").rename(tmp_path / "SegmentationClass")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "SegmentationClass" / "9.png").unlink()  # its image is in no list but that of test
    for name, numbers in (("train", [0, 3]), ("val", [1]), ("test", [9]), ("trainval", [0, 1, 3])):
        (lists / f"{name}.txt").write_text("".join(f"{number}\n" for number in numbers))
    datasets = build_datasets(folder(tmp_path))
    expected = [[f"JPEGImages/{i}.jpg", f"SegmentationClass/{i}.png"] for i in (0, 3, 1)]
    assert [*pairs_of(datasets.train, tmp_path), *pairs_of(datasets.val, tmp_path)] == expected
    assert pairs_of(datasets.test, tmp_path) == expected[2:]
    assert datasets.reading.notes[0].startswith("No image of test has a mask in")
    (lists / "val.txt").write_text("1.jpg\n77\n")
    with pytest.raises(UsageError, match=r"val\.txt names 77, but .* no such image; .*: 1\."):
        build_datasets(folder(tmp_path))
    (lists / "valid.txt").write_text("1\n")
    with pytest.raises(UsageError, match=r"val\.txt and .*valid\.txt are both lists of val"):
        build_datasets(folder(tmp_path))
    for name in ("train", "val", "valid"):
        (lists / f"{name}.txt").unlink()
    datasets = build_datasets(folder(tmp_path))
    assert datasets.reading.images == {"train": 1, "val": 1, "test": 1}  # those of trainval


def test_images_for_test_without_masks_are_not_used_and_noted(own_data):
    shutil.rmtree(own_data / "masks" / "test")
    datasets = build_datasets(folder(own_data))
    assert pairs_of(datasets.test, own_data) == pairs_of(datasets.val, own_data)
    assert f"No image of test has a mask in {own_data}/masks/test, so" in datasets.reading.notes[0]
    (part,) = datasets.reading.left_out
    assert (part.kind, part.count) == ("images", 10)


def test_images_and_masks_without_splits_are_split_together(tmp_path):
    write_unsplit_data(tmp_path)
    datasets = build_datasets(folder(tmp_path))
    parts = [datasets.train, datasets.val, datasets.test]
    assert [len(part) for part in parts] == [16, 2, 2]
    pairs = [pair for part in parts for pair in pairs_of(part, tmp_path)]
    assert sorted(pairs) == sorted([f"images/{i}.jpg", f"masks/{i}.png"] for i in range(20))


def test_masks_in_subfolders_belong_to_the_images_in_the_same_subfolders(own_data):
    """As in Cityscapes, where files in the folders of different cities may have the same name."""
    for kind, end in (("images", "jpg"), ("masks", "png")):
        for place, name in (("here", 3), ("there", 4)):
            (own_data / kind / "train" / place).mkdir()
            file = own_data / kind / "train" / f"{name}.{end}"
            file.rename(file.parent / place / f"1.{end}")
    train = build_datasets(folder(own_data)).train
    places = [Path(path).parent.name for path in train.paths]
    assert places == [Path(path).parent.name for path in train.masks.paths]
    assert places.count("here") == places.count("there") == 1


def test_the_current_folder_may_be_the_folder_of_the_data(own_data, monkeypatch):
    monkeypatch.chdir(own_data)
    datasets = build_datasets(folder(Path()))
    assert [Path(path).name for path in datasets.train.paths[:2]] == ["0.jpg", "1.jpg"]
    assert pairs_of(datasets.val, Path())[1] == ["images/val/1.jpg", "masks/val/1.png"]


def test_files_of_one_name_are_reported_or_refused(own_data):
    train = own_data / "images" / "train"
    shutil.copy(train / "3.jpg", train / "3.jpeg")
    (note,) = build_datasets(folder(own_data)).reading.notes
    shared = r".*/3\.jpeg, .*/3\.jpg share the annotation file .*/3\.png\. Number .* files: 1"
    assert re.match(shared, note)
    # ~ if cookiecutter.scope == "complete"
    array = own_data / "masks" / "train" / "3.npy"
    array.touch()
    with pytest.raises(UsageError, match=r"3\.npy is not an image file.\nSave masks as PNG"):
        build_datasets(folder(own_data))
    array.unlink()
    # ~ endif
    Image.new("L", (48, 40)).save(own_data / "masks" / "train" / "3.tif")
    with pytest.raises(UsageError, match=r"3\.png and .*3\.tif may both be the mask"):
        build_datasets(folder(own_data))


def test_names_match_in_any_unicode_form(own_data):
    for kind, form in (("images", "NFC"), ("masks", "NFD")):
        (file,) = (own_data / kind / "val").glob("3.*")
        file.rename(file.with_stem(unicodedata.normalize(form, "h\u00fcndin")))
    assert len(build_datasets(folder(own_data)).val) == 10


def test_samples_are_squares_with_their_masks(own_data):
    datasets = build_datasets(folder(own_data))
    for part in (datasets.train, datasets.val):
        image, target, position = part[1]
        assert (image.dtype, image.shape) == (torch.uint8, (3, 32, 32))
        assert (target.dtype, target.shape) == (torch.uint8, (32, 32))
        assert position == 1


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), left=st.integers(4, 20), top=st.integers(4, 20))
def test_an_image_and_its_mask_are_transformed_in_the_same_way(seed, left, top):
    """The image is a white square, and so is its mask: they must agree after the transform."""
    mask = torch.zeros(48, 48, dtype=torch.uint8)
    mask[top : top + 20, left : left + 20] = 1
    image = (mask * 255).expand(3, -1, -1).contiguous()
    torch.manual_seed(seed)
    still = AUGMENT | {"rotate": 30, "color": 0.0}
    moved, ids = train_transform(shapes("x", image_size=64, augment=still))(image, mask)
    inside = moved[0][ids == 1].float()
    outside = moved[0][ids == 0].float()
    # They may differ at the edge, where colours are interpolated but ids are not.
    assert not len(inside) or (inside > 100).float().mean() > 0.9
    assert not len(outside) or (outside < 155).float().mean() > 0.9


# ~ if cookiecutter.scope == "complete"
def test_all_frames_of_a_video_have_the_same_size_and_a_legend_of_all_classes():
    names = ["background", *(f"class with a long name {index}" for index in range(1, 6))]
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    pictures = [draw_frame(image, Prediction(image[0] + label), names) for label in range(6)]
    assert len({picture.size for picture in pictures}) == 1
    for picture in pictures:
        legend = picture.crop((0, MIN_WIDTH, picture.width, picture.height))
        shown = {color for _, color in legend.getcolors(1 << 16)}
        assert {tuple(palette()[3 * label :][:3]) for label in range(1, 6)} <= shown


# ~ endif
@pytest.mark.parametrize(("first", "names"), [("background", 2), ("road", 3)])
def test_a_legend_names_class_0_unless_it_is_the_background(first, names):
    image = torch.zeros(3, 64, 2000, dtype=torch.uint8)
    predicted = image[0].clone()
    predicted[:, :1000] = 1
    picture = draw_prediction(image, None, Prediction(predicted), [first, "car"])
    legend = np.asarray(picture.crop((0, 64, *picture.size)))
    drawn = np.flatnonzero((legend != legend[0, 0]).any(axis=(0, 2)))
    # The gaps, here between "prediction" and the names, grow with the letters of a large picture.
    assert (np.diff(drawn) > 62).sum() == names - 1


def test_a_drawing_names_the_classes_of_each_mask_in_their_colours():
    predicted, target = torch.zeros(2, 32, 32, dtype=torch.uint8)
    predicted[8:], target[8:] = 1, 2
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    names = ["background", "car", "a name that is longer than the picture is wide"]
    picture = draw_prediction(image, target, Prediction(predicted), names)
    assert picture.width == 2 * MIN_WIDTH + GAP
    for left, present, absent in ((0, 1, 2), (MIN_WIDTH + GAP, 2, 1)):
        strip = picture.crop((left, MIN_WIDTH, left + MIN_WIDTH, picture.height))
        counts = {color: count for count, color in strip.getcolors(1 << 16)}
        colors = [tuple(palette()[3 * label :][:3]) for label in (present, absent)]
        assert counts[colors[0]] > 20
        assert colors[1] not in counts
    target[:8] = 255  # in masks, ignored pixels are white
    image[:] = 80
    picture = draw_prediction(image, target, Prediction(predicted), names)
    car = tuple(palette()[3:6])
    assert picture.getpixel((9, 9)) == (80, 80, 80)  # class 0
    assert picture.getpixel((9, 64)) == car  # the outline
    assert picture.getpixel((9, 99)) == pytest.approx([36 + 0.55 * value for value in car], abs=1)
    assert picture.getpixel((MIN_WIDTH + GAP + 9, 9)) == (80, 80, 80)
    assert palette()[-3:] == [255, 255, 255]
    margin = strip.crop((MIN_WIDTH - GAP, 0, MIN_WIDTH, strip.height))
    assert len(margin.getcolors()) == 1  # the long name is not cut off
