import csv
import json

import pytest
from omegaconf import OmegaConf
from PIL import Image

from {{ cookiecutter.package_name }}.run.atomic_files import write_json, write_text
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.run.processes import RUN_ID
from {{ cookiecutter.package_name }}.search.compare import (
    compare,
    draw_scores,
    read_result,
    varied_settings,
)
from {{ cookiecutter.package_name }}.search.multirun import Multirun
from {{ cookiecutter.package_name }}.settings.schema import MONITOR


@pytest.fixture
def make_run(tmp_path):
    """A run folder as a training run leaves it: its settings, its scores, and how it ended."""

    def make(name, settings=None, scores=(), *, finished=True, failure=None):
        run = Run(tmp_path / "runs" / name)
        run.folder.mkdir(parents=True)
        if settings is not None:
            tree = {"seed": 0, **settings}
            write_text(run.settings_file, json.dumps(tree))
        rows = [f"{epoch},{10 * epoch},{score}" for epoch, score in enumerate(scores)]
        write_text(run.metrics, "\n".join([f"epoch,step,{MONITOR}", *rows, ""]))
        if failure:
            run.fail(failure)
        elif finished:
            write_json(run.results, {})
        return run

    return make


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.5, 0.7, 0.6], 0.7), (["nan", 0.2, "inf"], 0.2), (["nan"], None), ([], None)],
    ids=str,
)
def test_the_score_of_a_run_is_its_best_finite_score(make_run, scores, best):
    run = make_run("a", {}, scores)
    with run.metrics.open("a") as file:
        file.write("9,90,0.9")  # a line that is still being written
    assert read_result(run).score == best


def test_a_run_is_finished_failed_or_stopped(make_run):
    assert read_result(make_run("a")).state == "finished"
    failed = read_result(make_run("b", failure="The loss is nan:\nit has diverged."))
    assert (failed.state, failed.reason) == ("failed", "The loss is nan: it has diverged.")
    assert read_result(make_run("c", finished=False)).state == "stopped"
    assert read_result(Run(make_run("d").folder / "nowhere")).state == "stopped"


def test_only_settings_that_differ_are_compared(make_run):
    models = [{}, {}, {"model": {"backbone": "a"}}, {"model": {"backbone": "b"}, "seed": 1}, None]
    results = [read_result(make_run(f"{number}", model)) for number, model in enumerate(models)]
    assert varied_settings(results[:2]) == []
    assert varied_settings(results[1:3]) == ["model.backbone"]
    assert varied_settings(results) == ["seed", "model.backbone"]
    assert varied_settings(results[4:]) == []


def test_the_best_run_comes_first_in_every_table(make_run, tmp_path, capsys):
    runs = [
        make_run("failed", failure="no such [model] <b>"),
        make_run("worse", {"optimizer": {"lr": 0.1}}, [0.4]),
        make_run("best", {"optimizer": {"lr": 0.01}, "model": {"loss": ["a", "b"]}}, [0.9]),
        make_run("stopped", {"optimizer": {"lr": 1e-05}}, [0.6], finished=False),
    ]
    results = [read_result(run) for run in runs]
    picture = tmp_path / "results.png"
    compare(results, tmp_path, draw_scores(results, picture))
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    order = ["best", "stopped", "worse", "failed"]
    assert [row["run"] for row in rows] == order
    assert [row[MONITOR] for row in rows] == ["0.9", "0.6", "0.4", ""]
    assert [row["optimizer.lr"] for row in rows] == ["0.01", "1e-05", "0.1", ""]
    assert (rows[0]["model.loss"], rows[3]["reason"]) == ('["a", "b"]', "no such [model] <b>")
    assert "seed" not in rows[0]
    printed = capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    for text in (printed, page):
        assert sorted(order, key=text.index) == order
    assert f"  best  {MONITOR} 0.9000  finished optimizer.lr=0.01 model.loss=[" in printed
    assert "  failed  failed\n    no such [model] <b>\n" in printed
    assert str(picture) in printed
    assert "no such [model] &lt;b&gt;" in page
    assert page.count("data:image/") == 1
    assert "<script" not in page


@pytest.mark.figures
def test_the_picture_has_a_panel_for_each_setting_that_differs(make_run, tmp_path):
    values = [0.1, None, "a$_$" + "x" * 46]
    trees = [{"seed": index % 2, "a": {"b": values[index % 3]}} for index in range(9)]
    results = [read_result(make_run(f"{index}", tree, [index])) for index, tree in enumerate(trees)]
    failed = read_result(make_run("failed", failure="Why?"))
    widths = []
    for compared in ([failed], [failed, *results[:1]], [failed, *results]):
        (path,) = draw_scores(compared, tmp_path / f"{len(compared)}.png")
        with Image.open(path) as picture:
            widths.append(picture.width)
    assert abs(widths[0] - widths[1]) < 40
    assert widths[2] > 1.5 * widths[1]


def test_secrets_of_the_command_line_are_redacted_in_the_file_of_hydra(tmp_path):
    file = tmp_path / "multirun.yaml"
    file.write_text("overrides:\n- optimizer.lr=0.1,0.2\n- note=ghp_0123456789abcdefghij\n")
    Multirun().on_job_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    assert file.read_text() == "overrides:\n- optimizer.lr=0.1,0.2\n- note=***\n"


def test_jobs_that_have_no_folders_of_this_multirun_are_not_compared(tmp_path, monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")  # jobs of -m resume=b,c have the folders b and c
    hydra = {"sweep": {"dir": str(tmp_path)}, "job": {"config_name": "train"}}
    Multirun().on_multirun_end(OmegaConf.create({"hydra": hydra, "runs": str(tmp_path)}))
    assert not [*tmp_path.iterdir()]


def test_secrets_are_removed_from_the_files_of_jobs_that_have_ended(tmp_path, monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    jobs = tmp_path / "slurm" / "7_0"
    jobs.mkdir(parents=True)
    (jobs / "7_0_submitted.pkl").write_bytes(b"ghp_0123456789abcdefghij")
    (jobs / "7_0_0_log.out").write_text("note=ghp_0123456789abcdefghij\nEpoch 1\n")
    hydra = {"sweep": {"dir": str(tmp_path)}, "job": {"config_name": "bench"}}
    Multirun().on_multirun_end(OmegaConf.create({"hydra": hydra, "runs": str(tmp_path)}))
    (log,) = jobs.iterdir()
    assert log.read_text() == "note=***\nEpoch 1\n"
