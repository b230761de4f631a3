"""The files of sweeps: their settings are valid, and their metric is the one that decides."""

import itertools
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.module import (
    {{ cookiecutter.task | capitalize }}Module as TaskModule,
)
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.hydra_launch import CONFIGS, RUN_ID
from {{ cookiecutter.package_name }}.settings.schema import METRICS, MONITOR, Settings
from {{ cookiecutter.package_name }}.training.training_length import EPOCHS, SHAPES_EPOCHS

ROOT = Path(__file__).parents[2]
# ~ if cookiecutter.scope == "complete"
FILES = sorted([ROOT / "sweep.yaml", *(ROOT / "sweeps").glob("*.yaml")])


# ~ else
FILES = [ROOT / "sweep.yaml"]


# ~ endif
@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def sweep(request, monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def candidates(parameter):
    """The values to try: all of a choice, the ends of a range."""
    bounds = [parameter[key] for key in ("value", "min", "max") if key in parameter]
    return parameter.get("values", bounds)


def composed(overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return check(compose("train", [f"{key}={value}" for key, value in overrides]), Settings)


def test_every_value_makes_valid_settings(sweep):
    values = {name: candidates(parameter) for name, parameter in sweep["parameters"].items()}
    for turn in range(max(map(len, values.values()))):
        composed([(name, tried[turn % len(tried)]) for name, tried in values.items()])


def test_every_network_can_be_built(sweep):
    networks = {
        name: candidates(parameter)
        for name, parameter in sweep["parameters"].items()
        if name in {"model.architecture", "model.backbone"}
    }
    for choice in itertools.product(*networks.values()):
        settings = composed(zip(networks, choice, strict=True))
        assert TaskModule(settings, ["a", "b"]).network is not None


def test_the_file_names_the_project_of_single_runs(sweep):
    tracking = composed([]).tracking
    assert sweep["project"] == tracking["project"] == "{{ cookiecutter.project_slug }}"


def test_bad_runs_can_end_before_the_shortest_training_does():
    early = yaml.safe_load((ROOT / "sweep.yaml").read_text(encoding="utf-8"))["early_terminate"]
    assert early["type"] == "hyperband"
    assert 1 < early["min_iter"] < min(SHAPES_EPOCHS, *EPOCHS)


def test_the_metric_is_the_one_that_decides_the_best_checkpoint(sweep):
    assert sweep["metric"]["name"] == MONITOR
    assert sweep["metric"]["goal"].startswith(METRICS[MONITOR])
    assert sweep["command"][-1] == "${args_no_hyphens}"
