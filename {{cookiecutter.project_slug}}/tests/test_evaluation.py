"""Curves, thresholds, figures and the report of a test."""

import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.evaluation import figures, html_page
from {{ cookiecutter.package_name }}.evaluation.drawing import contact_sheet, fit_text
from {{ cookiecutter.package_name }}.evaluation.figures import write_figures
from {{ cookiecutter.package_name }}.evaluation.score_counts import (
    THRESHOLDS,
    EvaluationResults,
    ImageResult,
    ScoreCounts,
    best_threshold,
)
from {{ cookiecutter.package_name }}.run.atomic_files import write_csv
from {{ cookiecutter.package_name }}.settings.schema import MONITOR

FIGURES = ("confusion_matrix", "precision_recall", "thresholds", "per_class")


def counts_by_hand():
    """Class a has 3 targets and 4 predictions; class b has no target and a wrong prediction."""
    counts = ScoreCounts(["a", "b"])
    correct = np.array([True, False, True, False, False])
    counts.add(np.array([0, 0, 0, 0, 1]), np.array([0.95, 0.85, 0.85, 0.15, 0.99]), correct)
    counts.add_targets(np.array([0, 0, 0]))
    return counts


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_precision_recall_and_f1_are_those_counted_by_hand():
    curves = counts_by_hand().curves()
    for threshold, precision, recall, f1 in (
        (90, 1, 1 / 3, 2 / 4),
        (50, 2 / 3, 2 / 3, 4 / 6),
        (0, 2 / 4, 2 / 3, 4 / 7),
    ):
        values = [line[0, threshold] for line in curves]
        assert values == pytest.approx([precision, recall, f1])
    assert np.isnan(curves.precision[0, 96])  # no score is as high


def test_a_class_without_targets_has_no_scores_and_is_left_out_of_the_mean():
    curves = counts_by_hand().curves()
    assert all(np.isnan(line[1]).all() for line in curves)
    for mean, line in zip(curves.mean(), curves, strict=True):
        np.testing.assert_array_equal(mean, line[0])


def test_the_best_threshold_is_in_the_middle_of_those_of_the_highest_f1():
    curves = counts_by_hand().curves()
    assert THRESHOLDS[best_threshold(curves.f1[0])] == 0.51  # of 0.16 to 0.85
    assert best_threshold(curves.f1[1]) is None


def result(position, loss, confidence=0.5):
    return ImageResult(position, torch.zeros(4, 3, 8, 8)[0], 0, 0, confidence, loss, 0)


def test_batches_add_up_and_only_the_extreme_images_are_kept():
    collected = EvaluationResults()
    collected.shown = 2
    trainer = SimpleNamespace(world_size=1)
    batches = [[result(0, 3.0), result(1, 1.0)], [], [result(2, 2.0), result(3, 1.0, 0.9)]]
    collected.on_test_epoch_start(trainer, None)
    with pytest.raises(UsageError, match="None of the images to test can be read"):
        collected.on_test_epoch_end(trainer, None)
    for index, images in enumerate(batches):
        outputs = {"images": images, "counts": counts_by_hand()} if images else None
        collected.on_test_batch_end(trainer, None, outputs, None, index)
    collected.on_test_epoch_end(trainer, None)
    assert collected.counts.targets.tolist() == [6, 0]
    assert collected.counts.correct.sum() == 4
    assert collected.images == 4
    assert [image.position for image in collected.worst] == [0, 2]
    assert [image.position for image in collected.best] == [3, 1]  # the surest of equal losses
    kept = collected.worst[0].image
    assert kept.untyped_storage().nbytes() == kept.nbytes  # not the whole batch


@pytest.mark.figures
@pytest.mark.parametrize("number", [2, 100])
def test_figures_are_legible_whatever_the_number_of_classes(tmp_path, number):
    names = ["_a $5 & <b>", *(f"class {index}" for index in range(1, number))]
    counts = ScoreCounts(names, background="background")
    labels = np.arange(10 * number) % number
    counts.add(labels, np.linspace(0, 1, 10 * number), labels % 2 == 0)
    counts.add_targets(labels)
    counts.confusion += 12_345
    write_figures(counts, {"score": [None, *np.linspace(0, 1, number - 1)]}, tmp_path)
    for name in FIGURES:
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert 300 < picture.width < 1700
            assert 180 < picture.height < 1700
    assert len(table(tmp_path / "confusion_matrix.csv")) == number + 1
    assert len(table(tmp_path / "precision_recall.csv")) == 100 * number
    rows = table(tmp_path / "per_class.csv")
    assert [row["class"] for row in rows] == names
    assert rows[0]["score"] == ""
    assert rows[0]["targets"] == str(12_345 * (number + 1))


@pytest.mark.figures
def test_names_in_figures_stay_different_and_whole(tmp_path, monkeypatch):
    names = ["northern spotted birds, adult", "northern spotted birds, young", "x" * 60]
    counts = ScoreCounts(names)
    counts.add(np.arange(3), np.full(3, 0.5), np.array([True, True, False]))
    counts.add_targets(np.arange(3))
    shown = {}
    monkeypatch.setattr(
        figures, "_write", lambda path, figure, *_: shown.update({path.name: figure})
    )
    write_figures(counts, {"score": [0.1, 0.2, 0.3]}, tmp_path)
    matrix, bars = (shown[name].axes[0] for name in ("confusion_matrix", "per_class"))
    legend = shown["precision_recall"].axes[0].get_legend().get_texts()[:3]
    ticks = (matrix.get_xticklabels(), matrix.get_yticklabels(), bars.get_yticklabels())
    for labels in (*ticks, legend):
        assert [re.sub(r"\s", "", label.get_text()) for label in labels] == [
            name.replace(" ", "") for name in names
        ]


def test_a_page_shows_text_as_it_is_and_holds_its_pictures(tmp_path):
    Image.new("RGB", (3000, 10)).save(tmp_path / "a.png")
    rows = [("<script>", 1234, 0.123456, None)]
    shown = html_page.table(["<b>", "n", "x", "y"], rows)
    shown += html_page.image(tmp_path / "a.png", '"<i>"')
    page = html_page.page("<title>", [("<h>", shown)])
    assert not re.search("<(script|b|i|h)>", page)
    for text in ("&lt;script&gt;", "1234", "0.1235", "<td>-</td>"):
        assert text in page
    assert 'width="1500"' in page
    assert 'src="data:image/webp;base64,' in page


def test_a_run_leaves_its_results_as_files_and_as_one_page(train, command):
    run = train()
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    evaluated = command("evaluate", checkpoint, "split=val", "tracking=none", "trainer=cpu")
    for folder in (run, evaluated):
        metrics = json.loads((folder / "metrics.json").read_text())
        # ~ if cookiecutter.task == "detection" or (cookiecutter.task == "classification" and cookiecutter.scope == "complete")
        best = max(table(folder / "thresholds.csv"), key=lambda row: float(row["f1"] or 0))
        rows = {float(row["threshold"]): row["f1"] for row in table(folder / "thresholds.csv")}
        assert rows[metrics["best_threshold"]] == best["f1"]
        # ~ else
        assert "best_threshold" not in metrics  # nothing uses it
        # ~ endif
        (metric, values), *_ = (item for item in metrics.items() if item[0].endswith("_by_class"))
        for row in table(folder / "per_class.csv"):
            written = row[metric.removesuffix("_by_class")]
            assert (float(written) if written else None) == values[row["class"]]
        page = (folder / "report.html").read_text()
        assert len(page) < 5_000_000
        assert not re.search(r"https?:|<script|<link|@import|url\(", page)
        pictures = re.findall(r'<img[^>]* src="([^"]{30})', page)
        assert len(pictures) >= len(FIGURES) + 2
        assert all(source.startswith("data:image/") for source in pictures)
        for name, value in metrics.items():
            if "/" in name:
                assert f"<td>{name}</td><td class=number>{value:.4g}</td>" in page
        for text in (folder.name, "test_resnet", "20 images", "image_size: 32", "lightning"):
            assert text in page
        for name in ("worst_predictions", "best_predictions", *FIGURES):
            assert (folder / f"{name}.png").is_file()
    assert "best in validation" in (run / "report.html").read_text()


# ~ if cookiecutter.task == "segmentation"
def test_a_test_without_an_annotated_pixel_ends_with_its_report(train, own_data):
    (own_data / "classes.txt").write_text("blue\nred\ngreen\n")
    for path in (own_data / "masks" / "test").iterdir():
        Image.new("L", Image.open(path).size, 255).save(path)
    run = train("data=maskfolder", f"data.root={own_data}", "trainer.max_epochs=1")
    assert "Worst predictions" not in (run / "report.html").read_text()
    assert not (run / "worst_predictions.png").exists()
    assert json.loads((run / "metrics.json").read_text())["test/mIoU"] is None


# ~ endif
def test_the_report_names_the_first_of_the_best_epochs_whose_checkpoint_is_kept(train, command):
    run = train("trainer.max_epochs=3")
    rows = table(run / "metrics.csv")
    for row in rows:
        row[MONITOR] = row[MONITOR] and ("0.25" if row["epoch"] == "0" else "0.5")
    write_csv(run / "metrics.csv", [*rows[0]], [[*row.values()] for row in rows])
    command("train", f"resume={run.name}")
    cells = "".join(f"<td class=number>{value}</td>" for value in (0.5, 1, 0.5))
    name = MONITOR.replace("val/", "test/")
    page = (run / "report.html").read_text()
    assert re.search(f"<td>{name}</td><td class=number>[^<]*</td>{cells}", page)


def test_a_text_fits_by_a_smaller_font_first_and_then_without_its_middle():
    text, font = fit_text("a short name", 13, 200)
    assert (text, font.size) == ("a short name", 13)
    text, font = fit_text("a name that is longer", 13, 100)
    assert text == "a name that is longer"
    assert 9 < font.size < 13
    assert font.getlength(text) <= 100
    text, font = fit_text("DJI_0001_" + "x" * 60 + "_end.jpg", 13, 100)
    assert font.getlength(text) <= 100
    assert re.fullmatch("DJI_0.*….*nd.jpg", text)


def test_a_text_is_broken_into_lines_before_it_is_shortened():
    name = "northern spotted birds of the coast, photographed in winter"
    shown, font = fit_text(name, 13, 180, lines=2)
    assert shown.count("\n") == 1
    assert shown.replace("\n", " ") == name
    assert max(map(font.getlength, shown.split("\n"))) <= 180
    shown, font = fit_text("x" * 200, 13, 100, lines=2)
    assert re.fullmatch(r"x+\n?x*…\n?x+", shown)
    assert max(map(font.getlength, shown.split("\n"))) <= 100


@pytest.mark.parametrize("letter", "üßéłñČЯλ")
def test_letters_beyond_ascii_are_drawn(letter):
    font = fit_text(letter, 13, 100)[1]
    missing = "\uffff"  # is drawn as an empty rectangle
    assert bytes(font.getmask(letter)) != bytes(font.getmask(missing))


def test_the_names_of_the_files_are_below_the_images_of_a_sheet():
    tiles = [Image.new("RGB", (100, 50), "red"), Image.new("RGB", (100, 40), "red")]
    plain, named = contact_sheet(tiles), contact_sheet(tiles, ["first.jpg", "x" * 99])
    assert named.width == plain.width
    pixels = np.asarray(named)
    for tile, top in zip(tiles, (20, 20 + 50 + 20 + 18), strict=True):
        bottom = top + tile.height
        assert (pixels[top:bottom, 20:120] == (255, 0, 0)).all()
        assert (pixels[bottom : bottom + 18, 20:120] < 100).any()
    assert (pixels[:, 120:] == 255).all()
