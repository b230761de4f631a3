import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO

from {{ cookiecutter.package_name }}.detection.boxes import Prediction, Target
from {{ cookiecutter.package_name }}.detection.draw import draw_prediction
from {{ cookiecutter.package_name }}.detection.metrics import CocoScores
from {{ cookiecutter.package_name }}.detection.network import build_network
from {{ cookiecutter.package_name }}.model import load_module
from {{ cookiecutter.package_name }}.settings.detection import ModelSettings
from {{ cookiecutter.package_name }}.settings.tree import Settings
from {{ cookiecutter.package_name }}.task import build_datasets, collate

ARCHITECTURES = ["fcos", "retinanet", "fasterrcnn", "ssdlite", "dfine"]


SIZE = (96, 128)  # height and width of the images


def network(architecture, backbone="test_resnet", classes=3, channels=3):
    settings = {
        "architecture": architecture,
        "backbone": backbone,
        "pretrained": False,
        "channels": 64,
        "score_threshold": 0.3,
        "channels_last": False,
        "compile": False,
    }
    torch.manual_seed(0)
    checked = ModelSettings.model_validate(settings)
    return build_network(checked, classes=classes, image_size=SIZE, channels=channels)


def targets():
    """An image with two objects, and one without."""
    nothing = torch.zeros(0)
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8], [0.5, 0.1, 0.9, 0.4]])
    two = torch.zeros(2)
    return [
        Target(boxes, torch.tensor([2, 0]), two.bool(), two, (100, 100)),
        Target(nothing.reshape(0, 4), nothing.long(), nothing.bool(), nothing, (100, 100)),
    ]


def in_pixels(boxes):
    """Relative boxes as whole pixels of images of ``SIZE``."""
    return (boxes * torch.tensor([SIZE[1], SIZE[0]] * 2)).int().tolist()


def fit(detector, images, objects):
    """Train a detector on a batch for 30 steps; returns the loss of each step."""
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    detector.train()
    losses = []
    for _ in range(30):
        loss = torch.stack(list(detector.losses(images, objects).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_images_with_and_without_objects(architecture, channels):
    detector = network(architecture, channels=channels)
    images = torch.randint(0, 255, (2, channels, *SIZE), dtype=torch.uint8)
    losses = detector.train().losses(images, targets())
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    parameters = dict(detector.named_parameters())
    untrained = [name for name, parameter in parameters.items() if parameter.grad is None]
    assert len(untrained) < 0.1 * len(parameters), untrained
    with torch.inference_mode():
        predictions = detector.eval()(images)
    assert len(predictions) == 2
    for boxes, scores, labels in predictions:
        assert boxes.shape == (len(scores), 4)
        assert len(labels) == len(scores)
        assert not len(labels) or 0 <= labels.min() <= labels.max() <= 2
        assert not len(boxes) or 0 <= boxes.min() <= boxes.max() <= 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_of_every_architecture_decreases_on_two_images(architecture):
    images = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    objects = targets()
    for box in in_pixels(objects[0].boxes):
        images[0, :, box[1] : box[3], box[0] : box[2]] = 200
    losses = fit(network(architecture), images, objects)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_any_backbone_that_halves_its_feature_maps_step_by_step_works(backbone):
    detector = network("fcos", backbone).eval()
    with torch.inference_mode():
        assert len(detector(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))) == 1


@pytest.mark.parametrize(
    ("backbone", "message"),
    [("vit_tiny_patch16_224", "strides"), ("mixer_s32_224", "strides 32, 32, 32")],
)
def test_a_backbone_without_such_feature_maps_is_refused(train, backbone, message):
    with pytest.raises(SystemExit) as stopped:
        train(f"model.backbone={backbone}")
    assert f"model.backbone={backbone}" in str(stopped.value.code)
    assert message in str(stopped.value.code)
    assert "resnet50" in str(stopped.value.code)


def test_dfine_without_its_packages_says_what_to_install(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SystemExit) as stopped:
        train("model.architecture=dfine")
    assert "uv sync --extra dfine" in str(stopped.value.code)


def test_the_map_of_an_untrained_model_is_almost_zero(train):
    run = train("optimizer.lr=1e-9", "trainer.max_epochs=1")
    assert json.loads((run / "metrics.json").read_text())["test/mAP_50"] < 0.1


def test_the_test_metrics_are_those_of_the_averaged_weights_in_the_checkpoint(train):
    run = train("ema.decay=0.9", "trainer.max_epochs=4")
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    trained = content["trained_weights"]["weights"]
    state = content["state_dict"]
    assert any(not torch.equal(trained[name], value) for name, value in state.items())
    module = load_module(run / "checkpoints/best.ckpt")
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    dataset = build_datasets(settings.data).test
    batch = collate([dataset[index] for index in range(len(dataset))])
    scores = CocoScores(module.classes)
    with torch.inference_mode():
        scores.update(batch.positions, module(batch.images), batch.targets)
    expected = scores.compute().overall
    reported = json.loads((run / "metrics.json").read_text())
    assert reported["test/mAP"] == pytest.approx(expected["mAP"], abs=1e-5)
    assert reported["test/mAP_50"] == pytest.approx(expected["mAP_50"], abs=1e-5)


def test_each_class_is_reported(train):
    measured = json.loads((train() / "metrics.json").read_text())
    assert list(measured["AP_by_class"]) == ["circle", "cross", "square", "star", "triangle"]


def test_predictions_are_written_as_coco_results(train, command, own_data):
    run = train("data=coco", f"data.root={own_data}", "trainer.max_epochs=15")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.new("RGB", (90, 60), (20, 40, 200)).save(own_data / "val" / "other.png", exif=exif)
    result = command(
        "predict",
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"source={own_data}/val",
        "model.score_threshold=0",
        "tracking=none",
        "trainer=cpu",
    )
    images = COCO(result / "coco_images.json")
    boxes = images.loadRes(str(result / "coco_results.json"))
    assert len(images.imgs) == 11
    turned = images.imgs[11]
    assert Path(turned["file_name"]).name == "other.png"
    assert (turned["width"], turned["height"]) == (60, 90)
    assert [entry["name"] for entry in images.loadCats(images.getCatIds())] == ["red", "green"]
    assert len(boxes.anns) > 0
    for entry in boxes.anns.values():
        image = images.imgs[entry["image_id"]]
        x, y, width, height = entry["bbox"]
        assert 0 <= x <= x + width <= image["width"] + 1e-3
        assert 0 <= y <= y + height <= image["height"] + 1e-3
        assert entry["category_id"] in {1, 2}
    rows = json.loads((result / "predictions.json").read_text())
    assert sum(row["objects"] for row in rows) == len(boxes.anns)


def test_predict_can_change_the_score_threshold_of_a_checkpoint(train, command, own_data):
    checkpoint = f"checkpoint={train('trainer.max_epochs=1')}/checkpoints/best.ckpt"

    def objects(threshold):
        words = (checkpoint, f"source={own_data}/val", f"model.score_threshold={threshold}")
        result = command("predict", *words, "tracking=none", "trainer=cpu")
        rows = json.loads((result / "predictions.json").read_text())
        return sum(row["objects"] for row in rows)

    assert objects(0) > 0
    assert objects(0.999) == 0


def test_a_drawing_shows_the_box_in_its_place():
    image = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    box = torch.tensor([[0.25, 0.5, 0.75, 0.9]])
    drawn = draw_prediction(image, None, Prediction(box, torch.ones(1), torch.tensor([0])), ["a"])
    assert drawn.size == (400, 300)
    assert drawn.getpixel((200, 200)) == (128, 128, 128)
    for place in ((100, 200), (299, 200), (200, 269)):
        assert drawn.getpixel(place) != (128, 128, 128)


def test_boxes_below_the_score_threshold_are_not_predicted(train):
    module = load_module(train() / "checkpoints/best.ckpt")
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        predictions, unfiltered = module.predict_images(images), module(images)
    threshold = module.settings.model.score_threshold
    for prediction, all_boxes in zip(predictions, unfiltered, strict=True):
        assert len(prediction.scores) == int((all_boxes.scores >= threshold).sum())
