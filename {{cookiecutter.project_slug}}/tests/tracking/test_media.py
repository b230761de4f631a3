"""Pictures, clips and points: what is sent is what was seen."""

import json

# ~ if cookiecutter.task == "segmentation"
import numpy as np
# ~ endif
import pytest
import torch
# ~ if cookiecutter.task != "classification"
import yaml
# ~ endif
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.data.images import read_image
# ~ endif
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.settings.tree import Settings
from {{ cookiecutter.package_name }}.task import build_datasets
# ~ endif
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.tracking.detection import as_boxes
# ~ endif
from {{ cookiecutter.package_name }}.tracking.embeddings import first_three_components
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.tracking.media import as_picture, film
from {{ cookiecutter.package_name }}.tracking.segmentation import as_mask

# ~ else
from {{ cookiecutter.package_name }}.tracking.media import as_picture, film

# ~ endif
from reading import history, logged, media
from small import OWN

TYPES = [torch.uint8, torch.int64, torch.float32, torch.float64, torch.bfloat16, torch.bool]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(3, 9, 7), (9, 7, 3), (1, 9, 7), (9, 7), (2, 3, 9, 7)]),
    kind=st.sampled_from(TYPES),
    scale=st.sampled_from([1.0, 255.0, -300.0, float("inf"), float("nan")]),
    as_array=st.booleans(),
)
def test_no_type_order_or_range_of_an_image_can_raise(shape, kind, scale, as_array):
    image = torch.rand(shape).mul(scale).nan_to_num(0, 0, 0).to(kind)
    if kind.is_floating_point:
        image = (torch.rand(shape) * scale).to(kind)
    given_ = image.numpy() if as_array and kind != torch.bfloat16 else image
    picture = as_picture(given_, 512)
    assert picture.mode == "RGB"
    assert picture.size == (7, 9)


def test_a_picture_keeps_its_colours_and_its_longer_side():
    image = torch.zeros(3, 10, 40)
    image[0] = 200
    picture = as_picture(image.to(torch.uint8), 20)
    assert picture.size == (20, 5)
    assert picture.getpixel((3, 3)) == (200, 0, 0)
    assert as_picture(image / 255, 20).getpixel((3, 3)) == (200, 0, 0)


def test_images_carry_target_and_prediction(recorded):
    shown = logged(recorded, "val/predictions")
    assert len(shown) == 2
    for one in shown:
        assert len(one["filenames"]) == len(one["captions"]) == 5
        for name in one["filenames"]:
            assert name.endswith(".jpg")
            with Image.open(media(recorded, name)) as image:
                assert image.size == (32, 32)
    assert all(isinstance(text, str) for text in shown[0]["captions"])


def test_images_come_every_so_many_validations_and_no_larger_than_asked(tracked):
    run = tracked(
        "trainer.max_epochs=3",
        "tracking.media.every_n_validations=2",
        "tracking.media.images=1",
        "data.image_size=64",
        "tracking.media.pixels=32",
        "tracking.media.video=false",
        "tracking.media.embeddings=0",
    )
    rows = history(run)
    (shown,) = [row["val/predictions"] for row in rows if "val/predictions" in row]
    with Image.open(media(run, shown["filenames"][0])) as image:
        assert image.size == (32, 32)
    keys = set().union(*rows)
    assert not {"val/epochs", "val/embeddings", "test/worst"} & keys


# ~ if cookiecutter.task == "detection"
finite_or_not = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[finite_or_not] * 4), max_size=5), st.integers(0, 9))
def test_any_boxes_become_boxes_within_the_image(corners, label):
    boxes = as_boxes(corners, [label] * len(corners), ["a", "b"], [0.5] * len(corners))
    json.dumps(boxes, allow_nan=False)
    for one in boxes["box_data"]:
        place = one["position"]
        assert 0 <= place["minX"] <= place["maxX"] <= 1
        assert 0 <= place["minY"] <= place["maxY"] <= 1
        assert one["class_id"] in boxes["class_labels"]
        assert type(one["class_id"]) is int


def test_boxes_of_prediction_and_target_can_be_laid_over_the_images(recorded):
    shown = logged(recorded, "val/predictions")[0]
    chosen = Settings.model_validate(yaml.safe_load((recorded / "config.yaml").read_text()))
    root = recorded.parents[1] / "data" / "shapes"
    dataset = build_datasets(chosen.data.model_copy(update={"root": root})).val
    positions = torch.linspace(0, len(dataset) - 1, 6).long()[:5]
    for boxes, position, name in zip(
        shown["all_boxes"], positions.tolist(), shown["filenames"], strict=True
    ):
        drawn = {}
        for key in ("prediction", "target"):
            drawn[key] = json.loads(media(recorded, boxes[key]["path"]).read_text())
            names = drawn[key]["class_labels"]
            assert list(names.values()) == ["circle", "cross", "square", "star", "triangle"]
        truth = dataset[position].target
        found = [list(one["position"].values()) for one in drawn["target"]["box_data"]]
        torch.testing.assert_close(torch.tensor(found).reshape(-1, 4), truth.boxes)
        labels = [one["class_id"] for one in drawn["target"]["box_data"]]
        assert labels == truth.labels.tolist()
        for one in drawn["prediction"]["box_data"]:
            assert one["box_caption"].endswith(f"{one['scores']['score']:.0%}")
        pixels = read_image(media(recorded, name)).float()  # JPEG changes it but a little
        assert (pixels - dataset[position].image.float()).abs().mean() < 25


# ~ elif cookiecutter.task == "segmentation"
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TYPES), st.sampled_from([1.0, 255.0, -9.0, 1e9]), st.integers(1, 9))
def test_any_mask_becomes_ids_in_the_size_of_the_image(kind, scale, side):
    mask = (torch.rand(side, side) * scale).to(kind)
    ids = as_mask(mask, (12, 8))
    assert ids.shape == (8, 12)
    assert ids.dtype == np.uint8


def test_ids_of_a_mask_stay_as_they_are_and_others_are_ignored():
    ids = as_mask(torch.tensor([[0, 1], [-1, 300]]), (2, 2))
    assert ids.tolist() == [[0, 1], [255, 255]]


def test_masks_of_prediction_and_target_can_be_laid_over_the_images(recorded):
    shown = logged(recorded, "val/predictions")[0]
    names = ["background", "circle", "cross", "square", "star", "triangle"]
    chosen = Settings.model_validate(yaml.safe_load((recorded / "config.yaml").read_text()))
    root = recorded.parents[1] / "data" / "shapes"
    dataset = build_datasets(chosen.data.model_copy(update={"root": root})).val
    positions = torch.linspace(0, len(dataset) - 1, 6).long()[:5]
    for masks, position in zip(shown["all_masks"], positions.tolist(), strict=True):
        assert set(masks) == {"prediction", "target"}
        stored = {}
        for key, mask in masks.items():
            with Image.open(media(recorded, mask["path"])) as ids:
                stored[key] = torch.from_numpy(np.array(ids.convert("L")))
            assert stored[key].max() < len(names)
        assert torch.equal(stored["target"], dataset[position].target)


# ~ endif
def test_the_worst_images_are_shown_on_request(recorded):
    (worst,) = logged(recorded, "test/worst")
    assert len(worst["filenames"]) == 3


def test_the_fixed_images_through_the_epochs_are_a_film(recorded):
    (clip,) = logged(recorded, "val/epochs")
    with Image.open(media(recorded, clip["path"])) as frames:
        assert frames.n_frames == 2


def test_a_long_film_leaves_frames_out_evenly(tmp_path):
    sheets = []
    for index in range(70):
        sheets.append(tmp_path / f"{index:03d}.png")
        Image.new("RGB", (40, 20), (3 * index, 0, 90)).save(sheets[-1])
    path = film(sheets, tmp_path / "film.gif", 20)
    with Image.open(path) as frames:
        assert frames.n_frames == 60
        assert frames.size == (20, 10)
    assert film(sheets[:1], tmp_path / "none.gif", 20) is None


def test_validation_images_are_a_cloud_of_points_with_a_colour_for_each_class(recorded):
    (cloud,) = logged(recorded, "val/embeddings")
    points = torch.tensor(json.loads(media(recorded, cloud["path"]).read_text()))
    assert points.shape == (20, 6)
    assert points[:, :3].abs().max() == pytest.approx(1)
    assert len({tuple(color) for color in points[:, 3:].tolist()}) > 1


def test_the_axes_are_those_of_the_greatest_spread():
    torch.manual_seed(0)
    wide = torch.randn(50, 1) * torch.tensor([[0, 9.0, 0, 0]])
    narrow = torch.randn(50, 1) * torch.tensor([[3.0, 0, 0, 0]])
    points = first_three_components(wide + narrow + 7)
    spread = points.std(axis=0)
    assert spread[0] > 2 * spread[1] > 100 * spread[2]
    assert first_three_components(torch.zeros(4, 2)).shape == (4, 3)


def test_predict_sends_what_it_has_drawn(tracked, own_data):
    run = tracked(OWN, f"data.root={own_data}", "trainer.max_epochs=1")
    predicted = tracked(
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"source={own_data}",
        "tracking.media.clips=2",
        name="predict",
        small=("trainer=cpu", "tracking=wandb"),
    )
    (shown,) = logged(predicted, "predict/images")
    assert len(shown["filenames"]) == 2


def test_predict_sends_annotated_clips(tracked, workplace):
    av = pytest.importorskip("av")
    with av.open("clip.mp4", "w") as file:
        stream = file.add_stream("libx264", rate=5)
        stream.width = stream.height = 64
        for index in range(6):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 64), (40 * index, 0, 0)))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    run = tracked("trainer.max_epochs=1")
    predicted = tracked(
        f"checkpoint={run}/checkpoints/best.ckpt",
        "source=clip.mp4",
        name="predict",
        small=("trainer=cpu", "tracking=wandb"),
    )
    (clips,) = logged(predicted, "predict/clips")
    assert clips["count"] == 1
