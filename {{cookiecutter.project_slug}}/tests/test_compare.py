import csv
import json

import pytest
from PIL import Image

from {{ cookiecutter.package_name }}.run.files import write_json, write_text
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.search.compare import (
    BEST,
    compare,
    differing,
    read_result,
)
from {{ cookiecutter.package_name }}.search.plots import draw_scatter, label
from {{ cookiecutter.package_name }}.settings.tree import MONITOR

BACKBONES = ("resnet10t", "resnet18", "a_backbone_with_a_very_long_name_indeed")


@pytest.fixture
def make_run(tmp_path):
    """A run folder as a training leaves it: its settings, its scores, and how it ended."""

    def make(name, settings=None, scores=(), *, finished=True, failure=None):
        run = Run(tmp_path / "runs" / name)
        run.folder.mkdir(parents=True)
        if settings is not None:
            tree = {"runs": str(run.folder), "resume": None, "seed": 0, **settings}
            write_text(run.settings_file, json.dumps(tree))
        if scores:
            rows = [f"{epoch},{10 * epoch},{score}" for epoch, score in enumerate(scores)]
            write_text(run.metrics, "\n".join([f"epoch,step,{MONITOR}", *rows, ""]))
        if failure:
            run.fail(failure)
        elif finished:
            write_json(run.results, {})
        return run

    return make


def rows_of(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_result_has_the_best_of_all_epochs(make_run):
    result = read_result(make_run("a", {"seed": 1}, [0.5, 0.7, 0.6]))
    assert (result.score, result.state) == (0.7, "finished")


def test_a_score_that_is_no_number_does_not_count(make_run):
    assert read_result(make_run("a", {}, ["nan", 0.2, "inf"])).score == 0.2
    assert read_result(make_run("b", {}, ["nan"])).score is None


def test_a_line_that_is_being_written_does_not_count(make_run):
    run = make_run("a", {}, [0.5])
    with run.metrics.open("a") as file:
        file.write("1,10,0.9")
    assert read_result(run).score == 0.5


def test_a_run_is_finished_failed_or_stopped(make_run):
    assert read_result(make_run("a", {}, [0.5])).state == "finished"
    failed = read_result(make_run("b", {}, failure="The loss is nan:\nit has diverged."))
    assert (failed.state, failed.reason) == ("failed", "The loss is nan: it has diverged.")
    assert read_result(make_run("c", {}, [0.5], finished=False)).state == "stopped"
    assert read_result(Run(make_run("d").folder / "nowhere")).state == "stopped"


def test_only_what_differs_is_compared():
    same = {"seed": 0, "model.backbone": "resnet18"}
    assert differing([same, same]) == []
    assert differing([same, {**same, "seed": 1, "runs": "elsewhere"}]) == ["seed"]
    assert differing([same, {"seed": 0}, {}]) == ["model.backbone"]
    assert differing([]) == []


def test_the_table_has_the_best_run_first_and_those_without_a_score_last(make_run, capsys):
    runs = [
        make_run("failed", failure="no such [model]"),
        make_run("worse", {"optimizer": {"lr": 0.1}}, [0.4]),
        make_run("best", {"optimizer": {"lr": 0.01}, "model": {"loss": ["a", "b"]}}, [0.9]),
        make_run("stopped", {"optimizer": {"lr": 1e-05}}, [0.6], finished=False),
    ]
    folder = runs[0].folder.parent / "multirun"
    assert [result.run.id for result in compare(runs, folder)] == [
        "best",
        "stopped",
        "worse",
        "failed",
    ]
    rows = rows_of(folder)
    assert [row["run"] for row in rows] == ["best", "stopped", "worse", "failed"]
    assert [row[MONITOR] for row in rows] == ["0.9", "0.6", "0.4", ""]
    assert [row["optimizer.lr"] for row in rows] == ["0.01", "1e-05", "0.1", ""]
    assert rows[0]["model.loss"] == '["a", "b"]'
    assert rows[3]["reason"] == "no such [model]"
    assert "seed" not in rows[0]
    said = capsys.readouterr().out
    assert "failed: no such [model]" in said
    assert str(folder / "results.png") in said


def test_a_hundred_runs_are_told_in_part_and_written_in_full(make_run, tmp_path, capsys):
    runs = [make_run(f"run-{index}", {"seed": index}, [index / 100]) for index in range(100)]
    compare(runs, tmp_path)
    said = capsys.readouterr().out
    assert "run-99" in said
    assert "run-20" not in said
    assert "and 80 more" in said
    assert len(rows_of(tmp_path)) == 100


def size_of(path):
    with Image.open(path) as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, "an empty picture"
        return picture.size


def draw(path, points, settings):
    draw_scatter(points, settings, path, metric=MONITOR, best=BEST)
    return size_of(path)


def test_each_setting_that_differs_has_a_panel(tmp_path):
    points = [(index / 100, "finished") for index in range(100)]
    columns = [
        [10 ** -(index / 20) for index in range(100)],
        [index % 2 == 0 for index in range(100)],
        [BACKBONES[index % 3] for index in range(100)],
        [(16, 32, 64)[index % 3] for index in range(100)],
        [None if index % 2 else index for index in range(100)],  # too many for strips
        [["cross_entropy"], ["focal", "other"]] * 50,
    ]
    settings = {f"part.name{n}": dict(enumerate(column)) for n, column in enumerate(columns)}
    alone = draw(tmp_path / "alone.png", points, {})
    one = draw(tmp_path / "one.png", points, {"optimizer.lr": settings["part.name0"]})
    six = draw(tmp_path / "six.png", points, settings)
    assert one == (2 * alone[0], alone[1])
    assert six == (3 * alone[0], 2 * alone[1])


@pytest.mark.parametrize(
    "points",
    [
        [(0.5, "finished")],
        [(0.5, "finished"), (None, "failed"), (0.4, "stopped")],
        [(None, "failed"), (None, "stopped")],
    ],
    ids=["one", "three", "none with a score"],
)
def test_few_runs_and_runs_without_a_score_are_drawn(tmp_path, points):
    column = {index: 0.1**index for index in range(len(points))}
    settings = {"optimizer.lr": column, "model.backbone": {0: "resnet18"}}
    assert draw(tmp_path / "few.png", points, settings)[0] > 800


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (0.00012345678, "0.0001235"),
        (None, "null"),
        (True, "true"),
        (16, "16"),
        (["a", "b"], "[a,b]"),
        ("x" * 30, "x" * 23 + "…"),
    ],
)
def test_a_value_is_told_in_few_letters(value, short):
    assert label(value) == short
