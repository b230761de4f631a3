# ~ if cookiecutter.task != "classification"
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

# ~ endif
# ~ if cookiecutter.task == "segmentation"
import numpy as np
# ~ endif
import pytest
import torch
# ~ if cookiecutter.task == "classification"
import yaml

from {{ cookiecutter.package_name }}.data.resize import Fit, place
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ elif cookiecutter.task == "detection"
import yaml
from PIL import Image

from {{ cookiecutter.package_name }}.data.reading_summary import Reading
from {{ cookiecutter.package_name }}.data.resize import Fit, place
from {{ cookiecutter.package_name }}.detection.boxes import (
    AnnotatedImage,
    AnnotatedObject,
    Prediction,
    Target,
    without_padding,
)
from {{ cookiecutter.package_name }}.detection.dataset import BoxDataset, note_small
from {{ cookiecutter.package_name }}.detection.metrics import CocoScores
from {{ cookiecutter.package_name }}.detection.module import DetectionModule
from {{ cookiecutter.package_name }}.detection.transforms import FitWithBoxes
from {{ cookiecutter.package_name }}.errors import UsageError
# ~ else
import yaml
from PIL import Image

from {{ cookiecutter.package_name }}.data.resize import Fit, place
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.segmentation.dataset import Batch
from {{ cookiecutter.package_name }}.segmentation.module import SegmentationModule
from {{ cookiecutter.package_name }}.segmentation.predicted_masks import (
    Prediction,
    without_padding,
)
from {{ cookiecutter.package_name }}.segmentation.scoring import score_batch
from {{ cookiecutter.package_name }}.segmentation.transforms import eval_transform
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.settings.schema import Settings

# ~ else
from {{ cookiecutter.package_name }}.settings.schema import Settings
from {{ cookiecutter.package_name }}.training.callbacks.pictures import PredictionPictures

# ~ endif
from small import SHAPES, SMALL, composed, run_command

PLAIN = ("tracking=none", "trainer=cpu")
SIZE = (16, 32)  # height and width of an image
BLOCK = (10, 4, 14, 8)  # left, top, right and bottom of an object in it
# The same edges in the model input, worked out by hand, and the edges of the image there.
CASES = [
    ("letterbox", (64, 64), (20, 24, 28, 32), (0, 16, 64, 48)),
    ("stretch", (64, 64), (20, 16, 28, 32), (0, 0, 64, 64)),
    ("crop", (64, 64), (8, 16, 24, 32), (-32, 0, 96, 64)),
    ("letterbox", (32, 96), (36, 8, 44, 16), (16, 0, 80, 32)),
    ("stretch", (32, 96), (30, 8, 42, 16), (0, 0, 96, 32)),
    ("crop", (32, 96), (30, 4, 42, 16), (0, -8, 96, 40)),
]


def data(fit, size, *words):
    """The settings of data for a fit and an image size."""
    overrides = (f"data.fit={fit}", f"data.image_size=[{size[0]},{size[1]}]", *words)
    return check(composed(*SMALL, *overrides), Settings).data


def turned(edges):
    """The edges after rows and columns are exchanged, which makes portrait of landscape."""
    return edges[1], edges[0], edges[3], edges[2]


def drawn(size, edges):
    """A black image with a white object."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    left, top, right, bottom = edges
    image[:, top:bottom, left:right] = 255
    return image


def edges_of_white(image):
    """The edges of what is brighter than the grey of the padding."""
    rows, columns = (torch.nonzero((image[0] > 191).any(dim=axis)).flatten() for axis in (1, 0))
    return columns[0].item(), rows[0].item(), columns[-1].item() + 1, rows[-1].item() + 1


# ~ if cookiecutter.task == "detection"
def shares(edges, size):
    """The edges as shares of the width and height of an image of this height and width."""
    return torch.tensor([edges]) / torch.tensor([size[1], size[0]] * 2)


# ~ endif
@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The checkpoint of a short training run, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        run = run_command(patch, "train", *SMALL, *SHAPES, "trainer.max_epochs=1")
        return run.absolute() / "checkpoints" / "best.ckpt"


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} {case[1]}")
def case(request, portrait):
    """Settings, the image's size and object, and both in the input, upright or on its side."""
    fit, size, block, image = request.param
    if portrait:
        return data(fit, size[::-1]), SIZE[::-1], *map(turned, (BLOCK, block, image))
    return data(fit, size), SIZE, BLOCK, block, image


@pytest.fixture(params=[False, True], ids=["landscape", "portrait"])
def portrait(request):
    return request.param


def test_pixels_are_placed_where_they_belong(case):
    settings, size, block, expected, (left, top, right, bottom) = case
    fitted = Fit(settings)(drawn(size, block))
    assert tuple(fitted.shape[1:]) == settings.input_size
    found = torch.tensor(edges_of_white(fitted))
    assert (found - torch.tensor(expected)).abs().max() <= 1  # enlarging blurs the edges
    padding = torch.ones(settings.input_size, dtype=torch.bool)
    padding[max(top, 0) : bottom, max(left, 0) : right] = False
    # ~ if cookiecutter.task == "detection"
    assert (fitted[:, padding] == 128).all()
    placement, points = place(size, settings), shares(block, size)
    torch.testing.assert_close(placement.to_input(points), shares(expected, settings.input_size))
    torch.testing.assert_close(placement.to_image(placement.to_input(points)), points)


# ~ else
    assert (fitted[:, padding] == 128).all()


# ~ endif
def test_a_size_that_is_no_multiple_is_placed_in_whole_pixels():
    assert place((35, 100), data("letterbox", (64, 64))) == ((64, 64), (22, 64))
    assert place((35, 100), data("letterbox", (64, 64))).corner == (21, 0)
    assert place((35, 100), data("crop", (64, 64))) == ((64, 64), (64, 182))
    assert place((1, 1000), data("letterbox", (64, 64))).resized == (1, 64)


@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
def test_training_sees_all_parts_of_an_elongated_image_in_the_shape_of_validation(fit):
    """A random crop of about the shape of the input would always be the middle."""
    image = drawn((16, 128), (4, 4, 12, 12))  # at one end
    settings = data(fit, (64, 64), "data.augment.crop_scale=0.5")
    left, top, right, bottom = edges_of_white(Fit(settings)(image))
    shape, shown = (right - left) / (bottom - top), []
    for seed in range(40):
        torch.manual_seed(seed)
        fitted = Fit(settings, random=True)(image)
        assert fitted.shape == (3, 64, 64)
        if (fitted > 191).any():
            left, top, right, bottom = edges_of_white(fitted)
            if left > 0:
                shown.append((right - left) / (bottom - top))
    assert len(shown) > 5
    assert all(shape / 2 <= part <= shape * 2 for part in shown)


@pytest.mark.parametrize("size", ["[64]", "[64,64,64]", "16", "[32,31]", "large", "[32,4096]"])
def test_a_size_that_the_network_cannot_take_is_refused(size):
    with pytest.raises(UsageError, match=r"data\.image_size +is .*: name a side or \[height,wid"):
        check(composed(*SMALL, f"data.image_size={size}"), Settings)


# ~ if cookiecutter.task != "classification"
def pictured(image, target, prediction):
    """The prediction that is drawn for a validation image, if this is that of the network."""
    sample = SimpleNamespace(image=image, target=target, position=0)

    class Images(list):
        names = ("a.png",)

    datasets = SimpleNamespace(val=Images([sample]))
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(datasets=datasets),
        precision_plugin=SimpleNamespace(forward_context=nullcontext),
    )
    module = SimpleNamespace(device="cpu", predict_images=lambda _: [prediction])
    pictures = PredictionPictures(
        Path(), lambda *_: None, without_padding, count=1, every_n_epochs=1
    )
    (shown,) = pictures.predict(trainer, module)
    return shown.prediction


# ~ endif
# ~ if cookiecutter.task == "detection"
def white_object_and_corner(module, images):
    """In place of a trained network: a box around the white pixels, and one in the corner."""
    (image,) = images.cpu()
    boxes = shares(edges_of_white(image), image.shape[1:]), torch.tensor([[0, 0, 0.01, 0.01]])
    return [Prediction(torch.cat(boxes), torch.tensor([0.9, 0.8]), torch.tensor([0, 0]))]


def test_predicted_boxes_lie_on_the_object_in_the_file(checkpoint, command, monkeypatch, case):
    settings, size, block, _, (left, top, *_rest) = case
    Image.fromarray(drawn(size, block).permute(1, 2, 0).numpy()).save("photo.png")
    monkeypatch.setattr(DetectionModule, "predict_images", white_object_and_corner)
    words = (f"data.fit={settings.fit}", f"data.image_size={list(settings.input_size)}")
    run = command("predict", f"checkpoint={checkpoint}", "source=photo.png", *words, *PLAIN)
    found, *corner = json.loads((run / "coco_results.json").read_text())
    x, y, width, height = found["bbox"]
    assert (x, y, x + width, y + height) == pytest.approx(block, abs=0.6)
    assert len(corner) == (left <= 0 and top <= 0)  # nothing is predicted in the padding
    (image,) = json.loads((run / "coco_images.json").read_text())["images"]
    assert (image["height"], image["width"]) == size


def test_the_metrics_compare_boxes_in_the_file_without_the_padding(case):
    settings, size, block, _, _ = case
    edges = (block[0], 0, block[2], size[0])  # from border to border of the file
    nothing = torch.zeros(1)
    target = Target(
        shares(edges, size), nothing.long(), nothing.bool(), torch.tensor([100.0]), size
    )
    _, fitted = FitWithBoxes(settings)(drawn(size, edges), target)
    left = min(1, settings.input_size[0] / place(size, settings).resized[0])
    assert (fitted.size, fitted.areas.tolist()) == (size, pytest.approx([100 * left]))
    boxes = fitted.boxes.clone()
    boxes[:, 1], boxes[:, 3] = 0, 1  # from border to border of the input
    scores = CocoScores(["a"])
    detected = Prediction(boxes, torch.ones(1), torch.zeros(1).long())
    scores.update(torch.tensor([0]), [detected], [fitted])
    (image,) = scores.images.values()
    x, y, width, height = image.detections[0]["bbox"]
    if settings.fit != "crop":
        assert (x, y, x + width, y + height) == pytest.approx(edges, abs=1e-4)
    assert image.detections[0]["bbox"] == pytest.approx(image.objects[0]["bbox"], abs=1e-4)
    assert scores.compute().overall["mAP_small"] == pytest.approx(1)


def test_pictures_show_no_boxes_in_the_padding(case):
    settings, size, block, _, (left, top, right, bottom) = case
    target = Target(shares(block, size), torch.tensor([0]), torch.zeros(1) > 0, torch.ones(1), size)
    image, target = FitWithBoxes(settings)(drawn(size, block), target)
    found = Prediction(
        torch.tensor([[0, 0, 1, 1], [0, 0, 0.01, 0.01]]), torch.ones(2), torch.tensor([0, 0])
    )
    shown = pictured(image, target, found)
    assert len(shown.labels) == (2 if left <= 0 and top <= 0 else 1)
    edges = (max(left, 0), max(top, 0), right, bottom)
    whole = shares(edges, settings.input_size)[0].clamp(0, 1)
    torch.testing.assert_close(shown.boxes[0], whole)


def test_objects_that_are_cut_off_are_left_out():
    boxes = torch.cat([shares(edges, SIZE) for edges in ((0, 0, 7, 8), (4, 0, 12, 8))])
    two = torch.zeros(2)
    target = Target(boxes, torch.tensor([0, 1]), two.bool(), torch.ones(2), SIZE)
    _, fitted = FitWithBoxes(data("crop", (64, 64)))(drawn(SIZE, BLOCK), target)
    assert fitted.labels.tolist() == [1]
    torch.testing.assert_close(fitted.boxes, shares((0, 0, 16, 32), (64, 64)))


def test_objects_that_are_too_small_to_be_learned_are_counted(tmp_path):
    settings, reading = data("letterbox", (64, 64)), Reading()
    thin, wide = (AnnotatedObject((0, 0, width, 0.5), 0, 0.1) for width in (0.03, 0.04))
    images = [AnnotatedImage(Path("a.jpg"), [thin, wide], (100, 100))]
    # 64 pixels of the input are high, but only 32 are wide.
    images.append(AnnotatedImage(tmp_path / "b.png", [thin, wide], (100, 50)))
    note_small(BoxDataset(images, FitWithBoxes(settings), settings.pixels), settings, reading)
    (note,) = reading.notes
    assert note.startswith("Objects of train that are narrower or lower than 2 pixels")
    assert "learned: 3 of 4. " in note


def test_small_objects_are_counted_in_images_without_annotated_sizes(tmp_path):
    settings, reading = data("letterbox", (64, 64)), Reading()
    thin, wide = (AnnotatedObject((0, 0, width, 0.5), 0, 0.1) for width in (0.03, 0.04))
    images = [AnnotatedImage(tmp_path / "b.png", [thin, wide])]
    note_small(BoxDataset(images, FitWithBoxes(settings), settings.pixels), settings, reading)
    (note,) = reading.notes
    assert "learned: at least 1 of 2. " in note


def test_an_object_of_which_little_is_left_is_ignored():
    boxes = torch.cat([shares(edges, SIZE) for edges in ((0, 0, 9, 8), (0, 0, 16, 8))])
    target = Target(boxes, torch.tensor([0, 1]), torch.zeros(2) > 0, torch.ones(2), SIZE)
    _, fitted = FitWithBoxes(data("crop", (64, 64)))(drawn(SIZE, BLOCK), target)
    assert fitted.labels.tolist() == [0, 1]
    assert fitted.crowd.tolist() == [True, False]
    torch.testing.assert_close(fitted.areas, torch.tensor([1 / 9, 8 / 16]))


# ~ elif cookiecutter.task == "segmentation"
def white_pixels(module, images):
    """In place of a trained network: the white pixels are of class 1."""
    return [Prediction((image[0] > 127).to(torch.uint8)) for image in images.cpu()]


def test_predicted_masks_lie_on_the_object_in_the_file(checkpoint, command, monkeypatch, case):
    settings, size, block, _, (left, top, _, bottom) = case
    Image.fromarray(drawn(size, block).permute(1, 2, 0).numpy()).save("photo.png")
    monkeypatch.setattr(SegmentationModule, "predict_images", white_pixels)
    words = (f"data.fit={settings.fit}", f"data.image_size={list(settings.input_size)}")
    run = command("predict", f"checkpoint={checkpoint}", "source=photo.png", *words, *PLAIN)
    ids = np.asarray(Image.open(run / "masks" / "photo.png"))
    expected = (drawn(size, block)[0] > 0).numpy().astype(np.uint8)
    if settings.fit == "crop":  # the edges that were cut off are unknown
        scale = (bottom - top) / size[0]
        rows, columns = round(-top / scale), round(-left / scale)
        expected[:rows] = expected[size[0] - rows :] = 255
        expected[:, :columns] = expected[:, size[1] - columns :] = 255
    assert ids.tolist() == expected.tolist()
    (row,) = json.loads((run / "predictions.json").read_text())
    share = (expected == 1).sum() / (expected < 255).sum()
    assert row["circle"] == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
def test_a_mask_is_reduced_about_the_centre_of_its_image(fit):
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    disc = ((rows - 47.5) ** 2 + (columns - 47.5) ** 2 < 30**2).byte()
    _, ids = eval_transform(data(fit, (32, 32)))(disc.expand(3, -1, -1), disc)
    assert torch.equal(ids, ids.flip(0))
    assert torch.equal(ids, ids.flip(1))


def test_padding_is_ignored_by_loss_and_metrics(case):
    settings, size, block, expected, (left, top, right, bottom) = case
    mask = (drawn(size, block)[0] > 0).to(torch.uint8)
    _, ids = eval_transform(settings)(drawn(size, block), mask)
    known = torch.zeros(settings.input_size, dtype=torch.bool)
    known[max(top, 0) : bottom, max(left, 0) : right] = True
    assert torch.equal(ids != 255, known)
    inside = torch.zeros_like(known)
    inside[expected[1] : expected[3], expected[0] : expected[2]] = True
    assert torch.equal(ids == 1, inside)


def test_pictures_show_no_classes_in_the_padding(case):
    settings, size, _, _, (left, top, right, bottom) = case
    image = torch.full((3, *size), 128, dtype=torch.uint8)  # as grey as the padding
    image[:, -1] = 200
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[-1] = 255  # ignored, but not padding
    image, ids = eval_transform(settings)(image, mask)
    shown = pictured(image, ids, Prediction(torch.ones_like(ids)))
    inside = torch.zeros(settings.input_size, dtype=torch.bool)
    inside[max(top, 0) : bottom, max(left, 0) : right] = True
    assert torch.equal(shown.mask == 1, inside)
    assert torch.equal(shown.mask == 255, ~inside)
    logits = torch.zeros(1, 2, *settings.input_size)
    logits[:, 1] = 1
    batch = Batch(image[None], ids[None].long(), torch.tensor([0]), [])
    counts = torch.zeros(2, 2).long()
    (result,) = score_batch(batch, logits, torch.tensor([True]), counts, ["a", "b"])["images"]
    assert torch.equal(result.prediction.mask, shown.mask)


# ~ endif
def test_a_checkpoint_without_a_fit_is_evaluated_as_it_was_trained(checkpoint, command):
    content = torch.load(checkpoint, weights_only=True)
    del content["settings"]["data"]["fit"]
    torch.save(content, "earlier.ckpt")
    run = command("evaluate", "checkpoint=earlier.ckpt", *PLAIN)
    stored = yaml.safe_load((run / "config.yaml").read_text())
    earlier = "{{ 'crop' if cookiecutter.task == 'classification' else 'stretch' }}"
    assert stored["data"]["fit"] == earlier
