"""What a job tells of the training that it ran."""

import json

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.tracking.pending import LINK
from {{ cookiecutter.package_name }}.tracking.summary import markdown, newest


def make(runs, name):
    (runs / name).mkdir(parents=True)
    (runs / name / "config.yaml").write_text("")
    return Run(runs / name)


def test_a_summary_has_the_link_and_a_row_for_each_metric(tmp_path):
    run = make(tmp_path, "one")
    run.results.write_text(json.dumps({"test/loss": 0.123456, "by_class": {"circle": 1.0}}))
    (run.folder / LINK).write_text("https://example.org/team/own/runs/one\n")
    lines = markdown(run).splitlines()
    assert lines[0] == "### [one](https://example.org/team/own/runs/one)"
    assert lines[-2:] == ["|---|---|", "| test/loss | 0.1235 |"]


def test_a_run_that_has_not_ended_says_so(tmp_path):
    text = markdown(make(tmp_path, "one"))
    assert text.startswith("### one (offline)")
    assert "has not ended" in text


def test_the_newest_run_is_the_one_that_began_last(tmp_path):
    make(tmp_path, "b")
    assert newest(tmp_path).id == "b"
    assert newest(make(tmp_path, "a").folder.parent).id == "a"
    with pytest.raises(SystemExit, match="There is no run"):
        newest(tmp_path / "empty")


def test_the_link_of_an_online_run_is_told_and_kept(server, tracked, caplog):
    caplog.set_level("INFO")
    run = tracked("trainer.max_epochs=1")
    link = (run / LINK).read_text().strip()
    assert link.endswith(f"/runs/{run.name}")
    assert link in caplog.text
    assert markdown(Run(run)).startswith(f"### [{run.name}]({link})")
