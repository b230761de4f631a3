"""Tables and charts: bounded, joinable, and equal to what was measured."""

# ~ if cookiecutter.task == "classification"
import csv
import json
from itertools import product

import numpy as np
import pytest

from reading import artifacts, entries, history, logged, media, read_table, table
from small import STRIPES, write_striped


# ~ else
import csv
import json

from reading import artifacts, entries, history, media, read_table, table


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
    assert {row["class"] for row in table(run, "test/per_class")} == set(STRIPES)
    (best,) = artifacts(run, "model")
    assert json.loads(best["metadata"])["val/mAP"] == logged(run, "val/mAP")[0]


# ~ endif
def test_the_figures_and_the_scores_of_each_class_are_those_in_the_run_folder(recorded):
    (row,) = [row for row in history(recorded) if "test/per_class" in row]
    for name in ("confusion_matrix", "precision_recall", "thresholds"):
        image = media(recorded, row[f"test/{name}"]["path"])
        assert image.read_bytes() == (recorded / f"{name}.png").read_bytes()
    assert row["epoch"] == 2
    rows = {scores.pop("class"): scores for scores in table(recorded, "test/per_class")}
    report = json.loads((recorded / "metrics.json").read_text())
    by_class = {name: values for name, values in report.items() if name.endswith("_by_class")}
    assert by_class
    for name, values in by_class.items():
        column = name.removesuffix("_by_class")
        assert {label: scores[column] for label, scores in rows.items()} == values
    with (recorded / "metrics.csv").open() as file:
        assert not [column for column in next(csv.reader(file)) if "circle" in column]
