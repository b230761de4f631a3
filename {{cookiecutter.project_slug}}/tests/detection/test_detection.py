import json
# ~ if cookiecutter.scope == "complete"
import sys
# ~ endif
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO

from {{ cookiecutter.package_name }}.detection.boxes import Prediction, Target
from {{ cookiecutter.package_name }}.detection.coco import describe, table_rows
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets, collate
from {{ cookiecutter.package_name }}.detection.draw import draw_prediction
from {{ cookiecutter.package_name }}.detection.metrics import CocoScores
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.detection.network import build_network
# ~ else
from {{ cookiecutter.package_name }}.detection.network import Detector
# ~ endif
from {{ cookiecutter.package_name }}.evaluation.drawing import GAP, class_color
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import Settings

from small import composed

# ~ if cookiecutter.scope == "complete"
ARCHITECTURES = ["fcos", "retinanet", "fasterrcnn", "ssdlite", "dfine"]
# ~ endif
SIZE = (96, 128)  # height and width of the images
DETECTOR = ("model.channels=64", f"data.image_size=[{SIZE[0]},{SIZE[1]}]")


# ~ if cookiecutter.scope == "complete"
@pytest.fixture(params=ARCHITECTURES)
def network(request):
    return lambda **options: build(architecture=request.param, **options)


def build(architecture="fcos", backbone="test_resnet", channels=3):
    words = (f"model.architecture={architecture}", f"model.backbone={backbone}", *DETECTOR)
    torch.manual_seed(0)
    return build_network(check(composed(*words, f"data.channels={channels}"), Settings), 3)


# ~ else
@pytest.fixture
def network():
    return build


def build(backbone="test_resnet", channels=3):
    words = (f"model.backbone={backbone}", f"data.channels={channels}", *DETECTOR)
    torch.manual_seed(0)
    return Detector(check(composed(*words), Settings), 3)


# ~ endif
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


# ~ if cookiecutter.scope == "complete"
@pytest.mark.parametrize("channels", [1, 3, 5])
# ~ else
@pytest.mark.parametrize("channels", [1, 3])
# ~ endif
def test_a_detector_takes_images_with_and_without_objects(network, channels):
    detector = network(channels=channels)
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


def test_the_boxes_of_a_new_fcos_have_an_area_so_that_their_loss_has_a_gradient():
    images = torch.randint(0, 255, (2, 3, *SIZE), dtype=torch.uint8)
    with torch.inference_mode():
        first, second = build().eval()(images)
    boxes = torch.cat([first.boxes, second.boxes]) * torch.tensor([SIZE[1], SIZE[0]] * 2)
    assert (boxes[:, 2:] - boxes[:, :2]).min() > 8  # pixels, the smallest stride


def test_the_loss_of_a_detector_decreases_on_two_images(network):
    images = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    objects = targets()
    for box in in_pixels(objects[0].boxes):
        images[0, :, box[1] : box[3], box[0] : box[2]] = 200
    losses = fit(network(), images, objects)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_any_backbone_that_halves_its_feature_maps_step_by_step_works(backbone):
    detector = build(backbone=backbone).eval()
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


# ~ if cookiecutter.scope == "complete"
def test_dfine_without_its_packages_says_what_to_install(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SystemExit) as stopped:
        train("model.architecture=dfine")
    assert "uv sync --extra dfine" in str(stopped.value.code)


# ~ endif
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
    assert sum(len(row["objects"]) for row in rows) == len(boxes.anns)


def test_the_tables_have_an_object_in_each_row_with_its_box_in_pixels():
    boxes = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.5, 0.25]])
    found = Prediction(boxes, torch.tensor([0.75, 0.5]), torch.tensor([1, 0]))
    entry = {"image": "a.jpg", **describe(found, ["cat", "dog"], (40, 80))}
    assert entry == {
        "image": "a.jpg",
        "width": 80,
        "height": 40,
        "objects": [
            {"label": "dog", "score": 0.75, "box": [20, 20, 60, 40]},
            {"label": "cat", "score": 0.5, "box": [0, 0, 40, 10]},
        ],
    }
    first, second = table_rows(entry)
    place = {"left": 20, "top": 20, "right": 60, "bottom": 40}
    assert first == {"image": "a.jpg", "label": "dog", "score": 0.75, **place}
    assert second["label"] == "cat"
    (empty,) = table_rows({"image": "b.jpg", "objects": []})
    assert list(empty) == list(first)
    assert set(empty.values()) == {"b.jpg", None}


def test_predict_can_change_the_score_threshold_of_a_checkpoint(train, command, own_data):
    checkpoint = f"checkpoint={train('trainer.max_epochs=1')}/checkpoints/best.ckpt"

    def objects(threshold):
        words = (checkpoint, f"source={own_data}/val", f"model.score_threshold={threshold}")
        result = command("predict", *words, "tracking=none", "trainer=cpu")
        rows = json.loads((result / "predictions.json").read_text())
        return sum(len(row["objects"]) for row in rows)

    assert objects(0) > 0
    assert objects(0.999) == 0


def test_a_label_at_the_right_edge_of_an_image_is_not_cut():
    image = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    widths = []
    for left in (0.2, 0.96):
        box = torch.tensor([[left, 0.5, left + 0.03, 0.9]])
        found = Prediction(box, torch.ones(1), torch.tensor([0]))
        drawn = draw_prediction(image, None, found, ["a long name"]).crop((0, 120, 400, 149))
        columns = (np.asarray(drawn) != 128).any(axis=(0, 2))
        widths.append(int(columns.sum()))
    assert widths[0] == widths[1] > 40


def test_predict_uses_the_best_threshold_of_the_test_unless_one_is_given(
    train, command, own_data, caplog
):
    caplog.set_level("INFO")
    run = train("trainer.max_epochs=1")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"best_threshold": 0.07}))
    words = (f"source={own_data}/val", "tracking=none", "trainer=cpu")

    def threshold(checkpoint, *overrides):
        result = command("predict", f"checkpoint={checkpoint}", *words, *overrides)
        return Run(result).settings["model"]["score_threshold"]

    checkpoint = run / "checkpoints/best.ckpt"
    assert threshold(checkpoint) == 0.07
    assert threshold(checkpoint, "model.score_threshold=0.5") == 0.5
    (run / "metrics.json").write_text(json.dumps(metrics | {"best_threshold": 0.0}))
    assert threshold(checkpoint) == 0
    (run / "metrics.json").write_text(json.dumps(metrics | {"best_threshold": 0.07}))
    # ~ if cookiecutter.scope == "complete"
    exported = command("export", f"checkpoint={checkpoint}", *words[1:]) / "model.onnx"
    assert threshold(exported) == 0.07
    measured = command("evaluate", f"checkpoint={exported}", *words[1:])
    assert Run(measured).settings["model"]["score_threshold"] == 0.5  # as with the checkpoint
    # ~ endif
    assert "no best threshold" not in caplog.text
    assert threshold(checkpoint.rename("moved.ckpt")) == 0.5
    (line,) = [text for text in caplog.messages if "no best threshold is in" in text]
    assert line.startswith("model.score_threshold=0.5, the default: ")


# ~ if cookiecutter.scope == "complete"
@pytest.mark.parametrize("architecture", ARCHITECTURES[:-1])  # dfine has no anchors
def test_anchors_are_exact_in_bfloat16(architecture):
    network = build(architecture=architecture).eval()
    detector = network.model.model
    # ~ else
def test_anchors_are_exact_in_bfloat16():
    network = build().eval()
    detector = network.model.model
    # ~ endif
    found = []
    # ~ if cookiecutter.scope == "complete"
    anchors = getattr(detector, "rpn", detector).anchor_generator
    # ~ else
    anchors = detector.anchor_generator
    # ~ endif
    anchors.register_forward_hook(lambda _module, _inputs, outputs: found.append(outputs[0]))
    image = torch.zeros(1, 3, 64, 1120, dtype=torch.uint8)
    for enabled in (True, False):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(image)
    assert torch.equal(*found)


def test_a_drawing_shows_the_box_in_its_place():
    image = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    box = torch.tensor([[0.25, 0.5, 0.75, 0.9]])
    drawn = draw_prediction(image, None, Prediction(box, torch.ones(1), torch.tensor([0])), ["a"])
    assert drawn.size == (400, 300)
    assert drawn.getpixel((200, 200)) == (128, 128, 128)
    for place in ((100, 200), (299, 200), (200, 269)):
        assert drawn.getpixel(place) != (128, 128, 128)


def test_prediction_and_target_are_side_by_side_each_with_its_classes():
    image = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    box = torch.tensor([[0.25, 0.5, 0.75, 0.9]])
    one = torch.ones(1)
    target = Target(box, torch.tensor([0]), one < 0, one, (300, 400))
    drawn = draw_prediction(image, target, Prediction(box, one, torch.tensor([1])), ["a", "b", "c"])
    assert drawn.width == 400 + GAP + 400
    for left, shown in ((0, 1), (400 + GAP, 0)):
        for top, bottom in ((0, 300), (300, drawn.height)):  # the picture, and its legend
            colors = drawn.crop((left, top, left + 400, bottom)).getcolors(10_000)
            present = {color for _, color in colors}
            assert [label for label in range(3) if class_color(label) in present] == [shown]


def test_texts_of_boxes_do_not_hide_each_other():
    image = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    boxes = torch.tensor([[0.25, 0.5, 0.75, 0.9], [0.26, 0.51, 0.75, 0.9], [0.25, 0.49, 0.7, 0.8]])
    scores = torch.tensor([0.9, 0.8, 0.7])

    def white_pixels(chosen):
        found = Prediction(boxes[chosen], scores[chosen], torch.arange(3)[chosen])
        drawn = np.asarray(draw_prediction(image, None, found, ["first", "second", "third"]))
        return int((drawn == 255).all(axis=2).sum())

    assert white_pixels([0, 1, 2]) == sum(white_pixels([label]) for label in range(3)) > 0


def test_boxes_below_the_score_threshold_are_not_predicted(train):
    module = load_module(train() / "checkpoints/best.ckpt")
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        predictions, unfiltered = module.predict_images(images), module(images)
    threshold = module.settings.model.score_threshold
    for prediction, all_boxes in zip(predictions, unfiltered, strict=True):
        assert len(prediction.scores) == int((all_boxes.scores >= threshold).sum())
