import csv
import json
from types import SimpleNamespace

import pytest
import torch
import yaml

from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.classification.draw import draw_prediction
from {{ cookiecutter.package_name }}.inference.load_model import load_module
from {{ cookiecutter.package_name }}.settings.schema import EvaluateSettings, Settings


def test_long_names_of_classes_are_whole_in_a_drawing():
    classes = [f"blue triangle with a very {word} class name indeed" for word in ("long", "wide")]
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    drawn = []
    for label in (0, 1):
        found = SimpleNamespace(label=label, confidence=0.9, labels=[label], confidences=[0.9])
        drawn.append(draw_prediction(image, label, found, classes))
    assert drawn[0].size == drawn[1].size
    assert drawn[0].tobytes() != drawn[1].tobytes()


def test_an_untrained_model_guesses(train):
    run = train("data.val_images=100", "optimizer.lr=1e-9", "trainer.max_epochs=1")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["val/accuracy"]) for row in rows if row["val/accuracy"]]
    assert 0.05 < scores[0] < 0.4  # about 0.2, as there are five classes


def test_the_test_metrics_are_those_of_the_averaged_weights_in_the_checkpoint(train):
    run = train("ema.decay=0.9")
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    trained = content["trained_weights"]["weights"]
    assert any(
        not torch.equal(trained[name], value) for name, value in content["state_dict"].items()
    )
    module = load_module(run / "checkpoints/best.ckpt")
    settings = Settings.model_validate(yaml.safe_load((run / "config.yaml").read_text()))
    dataset = build_datasets(settings.data).test
    samples = [dataset[index] for index in range(len(dataset))]
    with torch.inference_mode():
        predictions = module.predict_images(torch.stack([sample.image for sample in samples]))
    pairs = zip(predictions, samples, strict=True)
    # ~ if cookiecutter.scope == "complete"
    correct = [prediction.labels == [sample.target] for prediction, sample in pairs]
    # ~ else
    correct = [prediction.label == sample.target for prediction, sample in pairs]
    # ~ endif
    accuracy = sum(correct) / len(correct)
    reported = json.loads((run / "metrics.json").read_text())["test/accuracy"]
    assert reported == pytest.approx(accuracy, abs=1e-6)


def test_a_backbone_that_does_not_take_the_size_of_the_images_is_named(train):
    with pytest.raises(SystemExit, match=r"(?s)crossvit_tiny_240 does not take.*image_size=240"):
        train("model.backbone=crossvit_tiny_240", "data.image_size=128")


def test_evaluate_refuses_data_of_other_classes(train, command, own_data):
    run = train()
    with pytest.raises(SystemExit) as stopped:
        command(
            "evaluate",
            f"checkpoint={run}/checkpoints/best.ckpt",
            "data=imagefolder",
            f"data.root={own_data}",
            "tracking=none",
        )
    assert "blue, red" in str(stopped.value.code)


def test_evaluate_can_split_the_folder_of_the_checkpoint_differently(train, command, own_data):
    run = train("data=imagefolder", f"data.root={own_data}")
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    result = command("evaluate", checkpoint, "data.split=[0.6,0.3,0.1]", "tracking=none")
    settings = yaml.safe_load((result / "config.yaml").read_text())
    assert settings["data"]["root"] == str(own_data)
    assert settings["data"]["split"] == [0.6, 0.3, 0.1]


def test_a_checkpoint_with_the_earlier_fractions_is_measured_on_the_same_images(
    train, command, own_data
):
    run = train("data=imagefolder", f"data.root={own_data}", "data.split=[0.6,0.2,0.2]")
    checkpoint = run / "checkpoints/best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    data = content["settings"]["data"]
    for name in ("split", "split_by", "split_file"):
        del data[name]
    data |= {"val_fraction": 0.2, "test_fraction": 0.2}
    torch.save(content, checkpoint)
    result = command("evaluate", f"checkpoint={checkpoint}", "tracking=none")
    tree = yaml.safe_load((result / "config.yaml").read_text())
    settings = EvaluateSettings.model_validate(tree)
    assert settings.data.split == pytest.approx((0.6, 0.2, 0.2))
    tested = build_datasets(settings.data).test.paths
    names = [path.removeprefix(f"{own_data}/") for path in tested]
    assert names == ["blue/1.jpg", "blue/7.jpg", "red/7.jpg", "red/9.jpg"]


def test_each_class_is_reported(train):
    measured = json.loads((train() / "metrics.json").read_text())
    assert set(measured["accuracy_by_class"]) == {"circle", "cross", "square", "star", "triangle"}


def test_predictions_are_labels_with_their_probability(train, command, own_data):
    run = train("data=imagefolder", f"data.root={own_data}")
    result = command(
        "predict",
        f"checkpoint={run}/checkpoints/best.ckpt",
        f"source={own_data}",
        "tracking=none",
        "trainer=cpu",
    )
    for row in json.loads((result / "predictions.json").read_text()):
        assert {row["label"], row["label_2"]} == {"blue", "red"}
        assert 0.5 <= row["confidence"] <= 1
        assert row["confidence"] + row["confidence_2"] == pytest.approx(1, abs=1e-5)
