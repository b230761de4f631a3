import csv
import json
# ~ if cookiecutter.scope == "complete"
import math
import re
import shutil
import subprocess
import sys

# ~ else
import math

# ~ endif
import pytest
import torch

from {{ cookiecutter.package_name }}.classification.dataset import Batch, Prediction
from {{ cookiecutter.package_name }}.classification.draw import caption, describe
from {{ cookiecutter.package_name }}.classification.multilabel import (
    LabelMetrics,
    binary_cross_entropy,
)
from {{ cookiecutter.package_name }}.classification.scoring import score_batch

from small import STRIPES, write_striped


def logit(probability):
    return math.log(probability / (1 - probability))


def logits(*rows):
    return torch.tensor([[logit(value) for value in row] for row in rows])


def test_the_loss_is_the_mean_binary_cross_entropy_of_the_classes():
    predicted, targets = logits([0.8, 0.4], [0.5, 0.5]), torch.tensor([[1, 0], [1, 1]])
    losses = binary_cross_entropy(predicted, targets, reduction="none")
    expected = [-(math.log(0.8) + math.log(0.6)) / 2, -math.log(0.5)]
    assert losses.tolist() == pytest.approx(expected)
    smooth = binary_cross_entropy(predicted[:1], targets[:1], label_smoothing=0.2)
    first = 0.9 * math.log(0.8) + 0.1 * math.log(0.2)
    second = 0.1 * math.log(0.4) + 0.9 * math.log(0.6)
    assert float(smooth) == pytest.approx(-(first + second) / 2)


def test_the_metrics_are_means_over_the_classes_that_have_targets():
    metrics = LabelMetrics(threshold=0.5)
    predicted = logits([0.9, 0.8, 0.1], [0.6, 0.3, 0.2], [0.4, 0.2, 0.7], [0.1, 0.1, 0.1])
    targets = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0], [-1, -1, -1]])
    metrics.update(predicted[:2], targets[:2])
    metrics.update(predicted[2:], targets[2:])
    values = {name: value.tolist() for name, value in metrics.compute().items()}
    by_class = {name: value.tolist() for name, value in metrics.by_class.items()}
    # Targets of the first class have ranks 1 and 3: (1/1 + 2/3) / 2; of the second ranks 2 and 3.
    assert by_class["AP"] == pytest.approx([5 / 6, 7 / 12, math.nan], nan_ok=True)
    assert values["mAP"] == pytest.approx((5 / 6 + 7 / 12) / 2)
    # Predicted from 0.5: images 1 and 2 for the first class, image 1 for the second.
    assert by_class["f1"] == pytest.approx([0.5, 0, math.nan], nan_ok=True)
    assert values["f1"] == pytest.approx(0.25)


def test_images_are_scored_by_label():
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    targets = torch.tensor([[1, 1, 0], [0, 0, 1], [1, 1, 1]])
    predicted = logits([0.9, 0.6, 0.2], [0.7, 0.1, 0.3], [0.5, 0.5, 0.5])
    batch = Batch(images, targets, torch.tensor([4, 5, 0]), [])
    counted = torch.tensor([True, True, False])
    losses = binary_cross_entropy(predicted, targets, reduction="none")
    results = score_batch(batch, predicted, losses, counted, ["a", "b", "c"], 0.5)
    first, second = results["images"]
    assert (first.position, first.target, first.correct) == (4, [1, 1, 0], True)
    assert (first.prediction.labels, second.prediction.labels) == ([0, 1], [0])
    assert first.prediction.probabilities == pytest.approx([0.9, 0.6, 0.2])
    assert (second.confidence, second.correct) == (pytest.approx(0.7), False)
    assert second.loss == pytest.approx(-(math.log(0.3) + math.log(0.9) + math.log(0.3)) / 3)
    counts = results["counts"]
    assert counts.confusion_names == ["a", "b", "c", "no label"]
    assert counts.confusion.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert counts.targets.tolist() == [1, 1, 1]
    assert counts.curves().precision[0, [50, 80]].tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("target", "labels", "text"),
    [
        ([1, 0], [0], "cat 70%"),
        ([0, 0], [0, 1], "cat 70%, dog 60%\nis without a label"),
        ([1, 1], [], "no label\nis cat, dog"),
        (-1, [1], "dog 60%"),
    ],
)
def test_a_caption_names_all_labels(target, labels, text):
    prediction = Prediction(labels, [[0.7, 0.6][label] for label in labels], [0.7, 0.6])
    assert caption(target, prediction, ["cat", "dog"]) == text
    names = ";".join(["cat", "dog"][label] for label in labels)
    assert describe(prediction, ["cat", "dog"]) == {"labels": names, "p_cat": 0.7, "p_dog": 0.6}


@pytest.fixture
def striped(tmp_path):
    """Images with stripes of some of three colours, their labels, in a CSV file."""
    write_striped(tmp_path / "stripes")
    return tmp_path / "stripes"


def test_a_model_of_several_labels_is_trained_tested_and_used(train, command, striped):
    run = train(
        "data=csv",
        f"data.root={striped}",
        "data.multilabel=true",
        "data.augment.flip=0",
        "data.augment.crop_scale=1",
        "trainer.max_epochs=12",
        "optimizer.lr=0.01",
        "ema.enabled=false",
        "model.mixup=0.1",
    )
    measured = json.loads((run / "metrics.json").read_text())
    assert measured["test/mAP"] > 0.8
    assert set(measured["AP_by_class"]) == set(measured["f1_at_0.5_by_class"]) == set(STRIPES)
    assert 0 <= measured["best_threshold"] < 1
    assert (run / "confusion_matrix.csv").read_text().splitlines()[-1].startswith("no label,")
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    state = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["callbacks"]
    assert {"val/mAP"} == {part["monitor"] for part in state.values() if part.get("monitor")}
    again = command("evaluate", checkpoint, "tracking=none", "model.score_threshold=0.3")
    repeated = json.loads((again / "metrics.json").read_text())
    assert repeated["test/mAP"] == pytest.approx(measured["test/mAP"], abs=1e-6)
    assert "f1_at_0.3_by_class" in repeated
    row = predicted(command, checkpoint, striped)
    threshold = measured["best_threshold"]
    # ~ if cookiecutter.scope == "complete"
    exported = command("export", checkpoint, "tracking=none", "trainer=cpu")
    rules = json.loads((exported / "model.json").read_text())["postprocessing"]
    assert (rules["activation"], rules["threshold"]) == ("sigmoid", threshold)
    card = (exported / "MODEL_CARD.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    shutil.copy(striped / "5.png", exported / "photo.jpg")
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=exported, text=True)
    assert [line.split()[0] for line in shown.splitlines()] == row["labels"].split(";")
    plain = command("evaluate", f"checkpoint={exported}/model.onnx", "tracking=none", "trainer=cpu")
    tested = json.loads((plain / "metrics.json").read_text())
    assert tested["f1_at_0.5_by_class"] == pytest.approx(measured["f1_at_0.5_by_class"])
    again = predicted(command, f"checkpoint={exported}/model.onnx", striped)
    assert again["labels"] == row["labels"]
    assert float(again["p_red"]) == pytest.approx(float(row["p_red"]), abs=1e-4)
    # ~ endif
    chosen = [name for name in STRIPES if float(row[f"p_{name}"]) >= threshold]
    assert row["labels"] == ";".join(chosen)


def predicted(command, checkpoint, folder):
    """The row of the table of predictions for an image."""
    words = (f"source={folder}/5.png", "tracking=none", "trainer=cpu")
    result = command("predict", checkpoint, *words)
    assert (result / "predictions/5.jpg").is_file()
    with (result / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    return row


def test_a_model_of_single_labels_refuses_images_of_several_labels(train, command, striped):
    rows = [f"{index}.png,{['red', 'blue'][index % 2]}" for index in range(40)]
    (striped / "labels.csv").write_text("\n".join(["path,label", *rows]))
    run = train("data=csv", f"data.root={striped}", "trainer.max_epochs=1")
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    with pytest.raises(SystemExit, match="trained on other data"):
        command("evaluate", checkpoint, "data.multilabel=true", "tracking=none")
