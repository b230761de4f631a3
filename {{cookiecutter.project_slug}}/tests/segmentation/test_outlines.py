import numpy as np
import pytest
import torch
from faster_coco_eval.core import mask as coco_mask

from {{ cookiecutter.package_name }}.data.coco import read_coco
from {{ cookiecutter.package_name }}.data.images import UnreadableImageError
from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.segmentation.coco import CocoMasks
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.settings.segmentation import MaskFolderSettings

from coco_data import HEIGHT, WIDTH, write_coco
from small import data_preset


def masks_with(root, **changes):
    """The training masks of a data set in which the first annotation is changed."""

    def change(split, content):
        content["annotations"][0].update(changes)

    write_coco(root, change)
    _, splits = read_coco(root, folder(root), Reading())
    return CocoMasks(splits["train"])


def rectangle(left, top, right, bottom):
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    ids[top:bottom, left:right] = 1
    return ids


def test_a_polygon_is_filled_with_the_id_after_the_background(tmp_path):
    mask = masks_with(tmp_path)(0, (HEIGHT, WIDTH))
    assert mask.dtype == torch.uint8
    assert np.array_equal(mask.numpy(), rectangle(4, 6, 24, 22))


@pytest.mark.parametrize("compressed", [True, False])
def test_compressed_and_uncompressed_run_lengths_are_read(tmp_path, compressed):
    ids = rectangle(10, 5, 30, 11)
    if compressed:
        runs = coco_mask.encode(np.asfortranarray(ids))
        counts = runs["counts"].decode() if isinstance(runs["counts"], bytes) else runs["counts"]
    else:
        flat = ids.flatten(order="F")
        edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        counts = np.diff([0, *edges, flat.size]).tolist()
    segmentation = {"size": [HEIGHT, WIDTH], "counts": counts}
    assert np.array_equal(
        masks_with(tmp_path, segmentation=segmentation)(0, (HEIGHT, WIDTH)).numpy(), ids
    )


def test_several_polygons_are_one_object(tmp_path):
    parts = [[2, 2, 12, 2, 12, 12, 2, 12], [20, 20, 30, 20, 30, 30, 20, 30]]
    mask = masks_with(tmp_path, segmentation=parts)(0, (HEIGHT, WIDTH)).numpy()
    assert np.array_equal(mask, rectangle(2, 2, 12, 12) | rectangle(20, 20, 30, 30))


def test_a_crowd_is_ignored(tmp_path):
    mask = masks_with(tmp_path, iscrowd=1)(0, (HEIGHT, WIDTH))
    assert sorted(mask.unique().tolist()) == [0, 255]


def test_the_smaller_of_two_overlapping_objects_is_on_top(tmp_path):
    def change(split, content):
        first = content["annotations"][0]
        inner = [8, 8, 14, 8, 14, 14, 8, 14]
        content["annotations"].insert(
            0, {**first, "id": 1, "category_id": 90, "segmentation": [inner]}
        )

    write_coco(tmp_path, change)
    _, splits = read_coco(tmp_path, folder(tmp_path), Reading())
    mask = CocoMasks(splits["train"])(0, (HEIGHT, WIDTH))
    assert (mask[10, 10], mask[7, 5], mask[0, 0]) == (2, 1, 0)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "annotation 1000 has no segmentation"),
        ([], "annotation 1000 has no segmentation"),
        ([[1, 2, 3, 4]], "annotation 1000 has a polygon that is not"),
        ([[1, 2, 3, 4, 5, 6, 7]], "annotation 1000 has a polygon that is not"),
        ([[4, 6, 24, 6, 24, 18, float("nan"), 9]], "annotation 1000 has a polygon with a text"),
        ([["4", "6", "24", "6", "14", "18"]], "annotation 1000 has a polygon with a text"),
        ({"size": [5, 5], "counts": [25]}, r"annotation 1000 has run lengths for a size of \[5, 5"),
    ],
)
def test_an_invalid_outline_is_named(tmp_path, segmentation, message):
    with pytest.raises(UsageError, match=rf"train\.json: {message}"):
        masks_with(tmp_path, segmentation=segmentation)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[4, 6, 1e8, 6, 14, 18]],
        {"size": [HEIGHT, WIDTH], "counts": [10, 5]},
        {"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]},
        {"size": [HEIGHT, WIDTH], "counts": ["1920"]},
    ],
    ids=["huge", "too short", "negative", "runs as text"],
)
def test_an_outline_that_cannot_be_drawn_is_named(tmp_path, segmentation):
    masks = masks_with(tmp_path, segmentation=segmentation)
    with pytest.raises(UnreadableImageError, match=r"annotation 1000 of .* is not an outline"):
        masks(0, (HEIGHT, WIDTH))


@pytest.mark.parametrize("left", [-90, 100])
def test_an_outline_outside_of_the_image_is_left_out_and_counted(tmp_path, left):
    def change(split, content):
        outline = [[left, 6, left + 20, 6, left + 20, 22]]
        content["annotations"][0]["segmentation"] = outline
        content["annotations"][1]["segmentation"] = [*outline, [-9, 6, 20, 6, 20, 22]]

    write_coco(tmp_path, change)
    reading = build_datasets(folder(tmp_path)).reading
    assert reading.objects["train"] == {"red": 9, "green": 0}
    parts = [(part.kind, part.reason, part.split) for part in reading.left_out]
    assert ("objects", "outside of the image", "train") in parts


SQUARE = [4, 6, 24, 6, 24, 22, 4, 22]


@pytest.mark.parametrize(
    ("outline", "drawn"),
    [
        ([[4, 6, 24, 26, 4, 6]], 0),
        ([[4, 6, 24, 6, 14, 6]], 0),
        ([[4, 6, 5, 6, 5, 7, 4, 7]], 1),
        ([[4, 6, 14, 6, 24, 6, 24, 22, 14, 22, 4, 22]], 320),
        ([[-9, 6, -2, 6, -2, 9], SQUARE], 320),
        ({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, 0),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 3, HEIGHT * WIDTH - 8]}, 3),
    ],
    ids=["there and back", "line", "pixel", "corners in a line", "beyond", "no runs", "few runs"],
)
def test_an_outline_without_a_pixel_is_left_out_and_counted(tmp_path, outline, drawn):
    def change(split, content):
        content["annotations"][0]["segmentation"] = outline

    write_coco(tmp_path, change)
    datasets = build_datasets(folder(tmp_path))
    masks = datasets.train.masks
    assert int((masks(0, (HEIGHT, WIDTH)) == 1).sum()) == drawn
    assert datasets.reading.objects["train"]["red"] == (10 if drawn else 9)
    parts = [(part.reason, part.count, part.split) for part in datasets.reading.left_out]
    assert (("without any pixel", 1, "train") in parts) == (not drawn)


def folder(root):
    settings = data_preset("coco") | {"root": root, "image_size": 32}
    settings["augment"] = settings["augment"] | {"crop_scale": 1, "flip": 0, "color": 0}
    return MaskFolderSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("categories", "message"),
    [(["red", "Background"], "class named Background"), ([*map(str, range(255))], "has 255 cl")],
)
def test_classes_without_an_id_of_their_own_are_refused(tmp_path, categories, message):
    def change(split, content):
        content["categories"] = [
            {"id": 7 + index, "name": name} for index, name in enumerate(categories)
        ]
        content["annotations"][0]["category_id"] = 8

    write_coco(tmp_path, change)
    with pytest.raises(UsageError, match=message):
        build_datasets(folder(tmp_path))


def test_the_target_of_a_sample_is_the_mask_of_its_image(tmp_path):
    write_coco(tmp_path)
    datasets = build_datasets(folder(tmp_path))
    assert list(datasets.classes) == ["background", "red", "green"]
    image, target, _ = datasets.val[0]
    assert image.shape == (3, 32, 32)
    red = image[0].int() - image[1].int() > 60
    assert (red == (target == 1)).float().mean() > 0.95  # all but pixels at the edge
    assert target.unique().tolist() == [0, 1, 255]  # 255 in the margins


def test_a_model_can_be_trained_on_outlines(train, tmp_path):
    write_coco(tmp_path / "coco")
    run = train("data=coco", f"data.root={tmp_path / 'coco'}")
    assert (run / "metrics.json").is_file()
