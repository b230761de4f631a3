"""``promote`` without a server: which models are refused, and the link that waits for one."""

import pytest

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.settings.schema import METRICS, MONITOR
from {{ cookiecutter.package_name }}.tracking import client, registry
from {{ cookiecutter.package_name }}.tracking.promote import main


@pytest.fixture
def promote(monkeypatch, capsys):
    """The command; returns its message."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["promote", *words])
        main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("score", "min_metric", "held", "reason"),
    [
        (0.9, None, None, None),
        (0.9, 0.8, 0.85, None),
        (0.9, 0.9, 0.9, None),
        (0.7, 0.8, None, "min_metric is 0.8"),
        (float("nan"), 0.8, None, "its best score is nan"),
        (None, 0.8, None, "not known"),
        (0.9, None, 0.95, "the current model has 0.95"),
        (None, None, 0.1, "not known"),
        (None, None, None, None),
    ],
)
def test_a_model_is_refused_if_it_is_worse(score, min_metric, held, reason):
    assert METRICS[MONITOR] == "max"
    arguments = ("a-model", score, min_metric, held)
    if reason is None:
        registry.refuse(*arguments)
    else:
        with pytest.raises(UsageError, match=reason):
            registry.refuse(*arguments)


def test_without_a_server_the_link_waits(tracked, promote):
    run = tracked("trainer.max_epochs=1")
    words = (f"checkpoint={run.name}", "alias=production")
    with pytest.raises(SystemExit, match="min_metric is 2"):
        promote(*words, "min_metric=2")
    with pytest.raises(SystemExit, match=r"last\.ckpt: there is no such run in runs/"):
        promote(f"checkpoint={run}/checkpoints/last.ckpt", "alias=production")
    assert "wandb-sync will make" in promote(*words, "min_metric=0")
    (link,) = [action for action in registry.pending(Run(run)) if action["action"] == "link"]
    assert link["artifact"] == f"model-{run.name}:best"
    assert link["target"] == "wandb-registry-model/{{ cookiecutter.project_slug }}"
    assert (link["alias"], link["min_metric"], link["force"]) == ("production", 0, False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alias=production"], "checkpoint  is missing, as in"),
        (["checkpoint=nothing", "alias=production"], "Give the id of a run"),
        (
            ["checkpoint=wandb:nothing:best", "alias=production"],
            "wandb:nothing:best needs the server, but there is no API key",
        ),
        (["checkpoint=nothing", "alias=a/b"], "alias"),
        (["checkpoint=x", "alias=a", "no_such=1"], "no_such"),
    ],
)
def test_a_mistake_is_named(words, message, promote, workplace):
    with pytest.raises(SystemExit, match=message):
        promote(*words)


def test_without_the_package_a_line_says_what_to_do(promote, workplace, monkeypatch):
    monkeypatch.setattr(client, "installed", lambda: False)
    with pytest.raises(SystemExit, match=r"^\nwandb is not installed\. Install it: uv sync\n$"):
        promote("checkpoint=wandb:nothing:best", "alias=production")
