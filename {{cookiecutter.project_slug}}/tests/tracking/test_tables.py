"""Tables and charts: bounded, joinable, and equal to what was measured."""

import csv
import json
# ~ if cookiecutter.task == "classification"
from itertools import product
# ~ endif
from types import SimpleNamespace

import numpy as np
# ~ if cookiecutter.task != "detection"
import pytest
# ~ endif
import wandb

from {{ cookiecutter.package_name }}.tracking.tables import confusion_matrix

# ~ if cookiecutter.task == "classification"
from reading import artifacts, entries, logged, read_table, table
from small import STRIPES, write_striped


# ~ else
from reading import artifacts, entries, read_table, table


# ~ endif
def data_rows(run):
    (data,) = artifacts(run, "dataset")
    return read_table(entries(data)["samples.table.json"])


def test_the_data_table_shows_images_of_every_split(recorded):
    rows = data_rows(recorded)
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    for row in rows:
        assert (recorded.parents[1] / "data" / "shapes" / row["id"]).is_file()
        assert (row["width"], row["height"]) == (32, 32)
        # ~ if cookiecutter.task == "classification"
        assert row["target"] in row["id"]
        # ~ elif cookiecutter.task == "detection"
        assert (row["image"]["boxes"]["target"] is not None) or not row["target"]
        # ~ elif cookiecutter.task == "segmentation"
        assert row["target"].endswith("background")
        assert "target" in row["image"]["masks"]
        # ~ endif
        assert row["image"]["_type"] == "image-file"


def test_the_prediction_table_is_bounded_and_joins_the_data_table(recorded):
    rows = table(recorded, "test/predictions_table")
    assert len(rows) == 12
    known = {row["id"] for row in data_rows(recorded)}
    assert known & {row["id"] for row in rows}
    for row in rows:
        assert "test" in row["id"].split("/")
        assert {"target", "prediction", "image"} <= row.keys()
        assert 0 <= row["confidence"] <= 1
        assert row["loss"] >= 0


# ~ if cookiecutter.task == "classification"
def test_the_prediction_table_agrees_with_the_measured_accuracy(tracked):
    run = tracked("trainer.max_epochs=1")
    rows = table(run, "test/predictions_table")
    assert len(rows) == 20
    metrics = json.loads((run / "metrics.json").read_text())
    assert np.mean([row["correct"] for row in rows]) == pytest.approx(metrics["test/accuracy"])
    assert np.mean([row["loss"] for row in rows]) == pytest.approx(metrics["test/loss"], rel=1e-3)
    assert all((row["target"] == row["prediction"]) == row["correct"] for row in rows)


def test_tables_and_the_model_of_images_with_several_labels(tracked, tmp_path):
    write_striped(tmp_path / "stripes")
    words = ("data=csv", f"data.root={tmp_path}/stripes/labels.csv", "data.multilabel=true")
    run = tracked(*words, "trainer.max_epochs=1")
    assert {row["target"] for row in data_rows(run)} == {
        ", ".join(name for name, shown in zip(STRIPES, bits, strict=True) if shown)
        for bits in product([0, 1], repeat=3)
    }
    rows = table(run, "test/predictions_table")
    assert {row["id"] for row in rows} <= {f"{index}.png" for index in range(48)}
    assert all((row["target"] == row["prediction"]) == row["correct"] for row in rows)
    assert {row["class"] for row in table(run, "test/by_class")} == set(STRIPES)
    (best,) = artifacts(run, "model")
    assert json.loads(best["metadata"])["val/mAP"] == logged(run, "val/mAP")[0]


# ~ elif cookiecutter.task == "segmentation"
def test_the_prediction_table_agrees_with_the_confusion_matrix(tracked):
    run = tracked("trainer.max_epochs=1")
    rows = table(run, "test/predictions_table")
    matrix = table(run, "test/confusion_matrix_table")
    total = sum(row["nPredictions"] for row in matrix)
    right = sum(row["nPredictions"] for row in matrix if row["Actual"] == row["Predicted"])
    assert len(rows) == 20
    assert np.mean([row["correct"] for row in rows]) == pytest.approx(right / total, abs=1e-5)


# ~ endif
def test_metrics_of_each_class_are_one_table(recorded):
    rows = table(recorded, "test/by_class")
    report = json.loads((recorded / "metrics.json").read_text())
    by_class = {name: values for name, values in report.items() if name.endswith("_by_class")}
    assert by_class
    for name, values in by_class.items():
        column = name.removesuffix("_by_class")
        assert {row["class"]: row[column] for row in rows} == values
    with (recorded / "metrics.csv").open() as file:
        assert not [column for column in next(csv.reader(file)) if "circle" in column]


def test_the_confusion_matrix_is_a_chart_of_counts(recorded):
    rows = table(recorded, "test/confusion_matrix_table")
    names = {row["Actual"] for row in rows}
    assert {"circle", "cross", "square", "star", "triangle"} <= names
    assert len(rows) == len(names) ** 2
    assert sum(row["nPredictions"] for row in rows) > 0


def test_a_confusion_matrix_of_many_classes_says_what_it_leaves_out():
    names = [f"class {number}" for number in range(101)]
    with_package = SimpleNamespace(wandb=wandb)
    counts = SimpleNamespace(confusion=np.eye(101, dtype=int), confusion_names=names)
    chart = confusion_matrix(with_package, counts)
    assert "the first 100 of 101 classes" in chart.spec.string_fields["title"]
    assert len(chart.table.data) == 100**2
    counts.confusion_names = names[:2]
    whole = confusion_matrix(with_package, counts)
    assert whole.spec.string_fields["title"] == "Confusion matrix"


def test_precision_and_recall_are_a_chart_with_a_curve_for_each_class(recorded):
    rows = table(recorded, "test/precision_recall_table")
    assert all(0 <= row["step"] <= 1 and 0 <= row["lineVal"] <= 1 for row in rows)
    for name in {row["lineKey"] for row in rows}:
        recalls = [row["step"] for row in rows if row["lineKey"] == name]
        assert recalls == sorted(recalls)
