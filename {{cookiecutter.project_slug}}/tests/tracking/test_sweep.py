import itertools
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from {{ cookiecutter.package_name }}.cli import CONFIGS, RUN_ID
from {{ cookiecutter.package_name }}.settings import Settings
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR
from {{ cookiecutter.package_name }}.validation import check

SWEEP = yaml.safe_load((Path(__file__).parents[2] / "sweep.yaml").read_text(encoding="utf-8"))


def candidates(parameter):
    if "values" in parameter:
        return parameter["values"]
    if "value" in parameter:
        return [parameter["value"]]
    return [parameter["min"], parameter["max"]]


@pytest.mark.parametrize("name", SWEEP["parameters"])
def test_every_value_of_every_key_makes_valid_settings(name, monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    for value in candidates(SWEEP["parameters"][name]):
        assert not isinstance(value, str) or not value.replace("e-", "").replace(".", "").isdigit()
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            check(compose("train", [f"{name}={value}"]), Settings)


def test_the_best_and_the_worst_corner_make_valid_settings(monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    ends = [
        (candidates(parameter)[0], candidates(parameter)[-1])
        for parameter in SWEEP["parameters"].values()
    ]
    for corner in itertools.islice(itertools.product(*ends), 8):
        overrides = [
            f"{name}={value}" for name, value in zip(SWEEP["parameters"], corner, strict=True)
        ]
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            check(compose("train", overrides), Settings)


def test_the_metric_is_the_one_that_checkpoints_go_by():
    assert SWEEP["method"] == "bayes"
    assert SWEEP["metric"]["name"] == MONITOR
    assert SWEEP["metric"]["goal"].startswith(METRICS[MONITOR])
    assert SWEEP["early_terminate"]["type"] == "hyperband"
    assert SWEEP["early_terminate"]["min_iter"] >= 1


def test_values_reach_the_command_as_overrides():
    assert SWEEP["command"][-1] == "${args_no_hyphens}"
    assert "train" in SWEEP["command"]
