"""Sweep files without a server: their form, their settings, and the metric that they go by."""

import itertools
import math
import re
from pathlib import Path

import pytest
import wandb
import yaml
from hydra import compose, initialize_config_dir

from {{ cookiecutter.package_name }}.settings.check import check
from {{ cookiecutter.package_name }}.settings.launch import CONFIGS, RUN_ID
from {{ cookiecutter.package_name }}.settings.tree import Settings
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR, TaskModule

from reading import history
from small import SHAPES, SMALL

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "sweep.yaml", *sorted((ROOT / "sweeps").glob("*.yaml"))]

# What W&B asks of a sweep, apart from what only its newest servers know.
KEYS = {"program", "command", "method", "metric", "early_terminate", "parameters", "run_cap"}
KEYS |= {"name", "description", "project", "entity", "controller", "kind"}
HYPERBAND = {"type", "min_iter", "max_iter", "s", "eta", "strict"}
BOUNDS = {"min", "max"}
NEEDED = {
    "constant": {"value"},
    "categorical": {"values"},
    "categorical_w_probabilities": {"values", "probabilities"},
    "int_uniform": BOUNDS,
    "uniform": BOUNDS,
    "log_uniform_values": BOUNDS,
    "inv_log_uniform_values": BOUNDS,
    "q_uniform": BOUNDS,
    "q_log_uniform_values": BOUNDS,
    "normal": {"mu", "sigma"},
    "log_normal": {"mu", "sigma"},
}
GOOD = """
program: train
command: [uv, run, train, "${args_no_hyphens}"]
method: bayes
metric: {name: score, goal: maximize}
early_terminate: {type: hyperband, min_iter: 3}
run_cap: 5
parameters:
  lr: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
  depth: {distribution: int_uniform, min: 1, max: 9}
  model.backbone: {values: [small, large]}
"""


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def mistakes(sweep):
    """All that W&B would refuse, or would take for something else than was meant."""
    for key in sweep.keys() - KEYS:
        yield f"unknown key {key}"
    if not sweep.get("program"):
        yield "no program"
    if "${args_no_hyphens}" not in sweep.get("command", [])[-1:]:
        yield "the command does not end with ${args_no_hyphens}"
    if sweep.get("method") not in {"bayes", "grid", "random"}:
        yield "unknown method"
    if "run_cap" in sweep and not whole(sweep["run_cap"]):
        yield "run_cap is no count"
    yield from _metric_mistakes(sweep)
    if not sweep.get("parameters"):
        yield "no parameters"
    for name, parameter in sweep.get("parameters", {}).items():
        for mistake in _parameter_mistakes(parameter, sweep.get("method")):
            yield f"{name}: {mistake}"


def _metric_mistakes(sweep):
    metric, stop = sweep.get("metric"), sweep.get("early_terminate")
    if metric is None:
        if sweep.get("method") == "bayes":
            yield "bayes without a metric"
        if stop is not None:
            yield "early_terminate without a metric"
    elif not metric.get("name") or metric.get("goal") not in {"minimize", "maximize"}:
        yield "the metric needs a name and a goal"
    if stop is None:
        return
    if stop.get("type") != "hyperband" or stop.keys() - HYPERBAND:
        yield "early_terminate is no hyperband"
    limits = [stop[key] for key in ("min_iter", "max_iter") if key in stop]
    if not limits or not all(map(whole, limits)):
        yield "hyperband needs min_iter or max_iter"


def _parameter_mistakes(parameter, method):
    if "parameters" in parameter:
        yield "nested: write a dotted key"
        return
    distribution = _distribution(parameter)
    if distribution not in NEEDED:
        yield f"unknown distribution {distribution}"
        return
    needed = NEEDED[distribution]
    allowed = {"distribution", *needed} | ({"q"} if distribution.startswith("q_") else set())
    if needed - parameter.keys() or parameter.keys() - allowed:
        yield f"{distribution} takes {sorted(needed)}"
        return
    if method == "grid" and distribution not in {"constant", "categorical"}:
        yield "a grid has value or values only"
    if distribution.startswith(("constant", "categorical")):
        yield from _choice_mistakes(parameter)
    else:
        yield from _range_mistakes(parameter, distribution)


def _choice_mistakes(parameter):
    choices = candidates(parameter)
    if not isinstance(choices, list) or not choices:
        yield "values is no list"
        return
    for choice in choices:
        if isinstance(choice, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", choice):
            yield f"{choice} is read as a string: write 0.0001, not 1e-4"
    shares = parameter.get("probabilities", [1])
    if not math.isclose(sum(shares), 1) or len(shares) not in {len(choices), 1}:
        yield "one probability for each value, 1 in all"


def _range_mistakes(parameter, distribution):
    numbers = [value for key, value in parameter.items() if key != "distribution"]
    kinds = (int,) if distribution == "int_uniform" else (int, float)
    if not all(isinstance(number, kinds) and not isinstance(number, bool) for number in numbers):
        yield "a bound is no number"
        return
    if "min" in parameter and parameter["min"] >= parameter["max"]:
        yield "min is not less than max"
    if "log_uniform" in distribution and parameter["min"] <= 0:
        yield "a logarithm needs min above 0"


def _distribution(parameter):
    if "distribution" in parameter:
        return parameter["distribution"]
    if "probabilities" in parameter:
        return "categorical_w_probabilities"
    if "min" in parameter or "max" in parameter:
        floats = [parameter.get(key) for key in BOUNDS if isinstance(parameter.get(key), float)]
        return "uniform" if floats else "int_uniform"
    return "categorical" if "values" in parameter else "constant"


def whole(number):
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def candidates(parameter):
    """The values to try: all of a choice, the ends of a range."""
    if "values" in parameter:
        return parameter["values"]
    return [parameter[key] for key in ("value", "min", "max", "mu") if key in parameter]


def composed(overrides, monkeypatch):
    monkeypatch.setenv(RUN_ID, "a-run")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return check(compose("train", [f"{key}={value}" for key, value in overrides]), Settings)


@pytest.fixture(params=FILES, ids=[path.stem for path in FILES])
def sweep(request):
    return read(request.param)


def test_the_form_is_what_the_service_accepts(sweep):
    assert list(mistakes(sweep)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("run_cap:", "run_limit:", "unknown key run_limit"),
        ("program: train", "", "no program"),
        (', "${args_no_hyphens}"', "", "does not end with"),
        ("${args_no_hyphens}", "${args}", "does not end with"),
        ("bayes", "bayesian", "unknown method"),
        ("run_cap: 5", "run_cap: many", "run_cap is no count"),
        ("parameters:", "parameters: {}\ndescription:", "no parameters"),
        ("metric: {name: score, goal: maximize}", "", "bayes without a metric"),
        ("metric: {name: score, goal: maximize}", "", "early_terminate without a metric"),
        ("goal: maximize", "goal: max", "a name and a goal"),
        ("name: score, ", "", "a name and a goal"),
        ("hyperband", "median", "no hyperband"),
        (", min_iter: 3", "", "min_iter or max_iter"),
        ("min_iter: 3", "min_iter: 0", "min_iter or max_iter"),
        ("log_uniform_values", "log_uniform", "lr: unknown distribution log_uniform"),
        (", max: 0.1", "", "lr: log_uniform_values takes"),
        (", max: 9", ", max: 9, step: 2", "depth: int_uniform takes"),
        ("max: 0.1", "max: 1e-1", "lr: a bound is no number"),
        ("max: 9", "max: 9.5", "depth: a bound is no number"),
        ("max: 0.1", "max: 0.00001", "lr: min is not less than max"),
        ("min: 0.0001", "min: 0", "lr: a logarithm needs"),
        ("method: bayes", "method: grid", "lr: a grid has"),
        ("[small, large]", "[0.1, 1e-4]", "model.backbone: 1e-4 is read as a string"),
        ("[small, large]", "[]", "model.backbone: values is no list"),
        ("[small, large]", "small", "model.backbone: values is no list"),
        ("[small, large]", "[a, b], probabilities: [0.5, 0.1]", "one probability for each"),
        ("values:", "parameters:", "model.backbone: nested"),
    ],
)
def test_a_planted_mistake_is_found(right, wrong, reason):
    assert list(mistakes(yaml.safe_load(GOOD))) == []
    assert GOOD.count(right) == 1
    found = list(mistakes(yaml.safe_load(GOOD.replace(right, wrong))))
    assert any(reason in mistake for mistake in found), found


def test_every_value_of_every_key_makes_valid_settings(sweep, monkeypatch):
    values = {name: candidates(parameter) for name, parameter in sweep["parameters"].items()}
    for turn in range(max(map(len, values.values()))):
        composed([(name, of[turn % len(of)]) for name, of in values.items()], monkeypatch)


def test_every_network_that_is_named_can_be_built(sweep, monkeypatch):
    named = {
        name: candidates(parameter)
        for name, parameter in sweep["parameters"].items()
        if name in {"model.architecture", "model.backbone"}
    }
    for choice in itertools.product(*named.values()):
        settings = composed(zip(named, choice, strict=True), monkeypatch)
        assert TaskModule(settings, ["one", "two"]).network is not None


def test_the_metric_is_the_one_that_checkpoints_go_by(sweep):
    assert sweep["metric"]["name"] == MONITOR
    assert sweep["metric"]["goal"].startswith(METRICS[MONITOR])


def test_the_metric_is_logged_once_for_each_validation(command):
    tracked = [word for word in SMALL if not word.startswith("tracking")]
    run = command("train", *tracked, *SHAPES, "tracking=wandb")
    wandb.teardown()
    rows = history(run)
    for path in FILES:  # the early stop counts these
        logged = [row["epoch"] for row in rows if read(path)["metric"]["name"] in row]
        assert logged == [0, 1]
