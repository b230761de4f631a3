"""Who may hold an alias of the registry, and what is done about it without a server."""

import json

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.task import METRICS, MONITOR
from {{ cookiecutter.package_name }}.tracking import pending, registry
from {{ cookiecutter.package_name }}.tracking.promote import main

TARGET = "wandb-registry-model/{{ cookiecutter.project_slug }}"


@pytest.fixture
def promote(monkeypatch):
    """The command; returns what it said."""

    def run(caplog, *words):
        import wandb

        caplog.clear()
        caplog.set_level("INFO")
        monkeypatch.setattr("sys.argv", ["promote", *words])
        try:
            main()
        finally:
            wandb.teardown()
        return caplog.text

    return run


def holders(server):
    """Which artifact has which alias in the registry."""
    return {alias: link.artifact.collection for link in server.links for alias in link.aliases}


def test_the_best_score_decides():
    assert METRICS[MONITOR] == "max"
    assert registry.worse(0.4, 0.5)
    assert not registry.worse(0.5, 0.5)


@pytest.mark.parametrize(
    ("score", "bar", "held", "reason"),
    [
        (0.9, None, None, None),
        (0.9, 0.8, 0.85, None),
        (0.7, 0.8, None, "min_metric asks for 0.8"),
        (None, 0.8, None, "not known"),
        (0.9, None, 0.95, "held by a model with 0.9500"),
        (None, None, 0.1, "not known"),
        (None, None, None, None),
    ],
)
def test_a_model_is_refused_with_the_reason(score, bar, held, reason):
    holder = None if held is None else {MONITOR: held}
    why = registry.refusal(score, bar=bar, holder=holder, alias="production")
    assert why is None if reason is None else reason in why


def test_a_model_is_linked_unless_a_better_one_holds_the_alias(server, tracked, promote, caplog):
    run = tracked("trainer.max_epochs=1")
    said = promote(caplog, f"checkpoint={run.name}", "alias=production")
    assert f"is now production of {TARGET}" in said
    assert holders(server)["production"] == f"model-{run.name}"
    better = tracked("trainer.max_epochs=1")
    models = {one.collection: one for one in server.artifacts if one.type == "model"}
    models[f"model-{run.name}"].metadata[MONITOR] = 0.9
    models[f"model-{better.name}"].metadata[MONITOR] = 0.8
    path = f"checkpoint={better}/checkpoints/best.ckpt"
    with pytest.raises(SystemExit, match=r"held by a model with 0\.9000"):
        promote(caplog, path, "alias=production")
    assert holders(server)["production"] == f"model-{run.name}"
    promote(caplog, path, "alias=production", "force=true")
    assert holders(server)["production"] == f"model-{better.name}"
    artifact = f"checkpoint=wandb:model-{run.name}:best"
    with pytest.raises(SystemExit, match=r"min_metric asks for 0\.95"):
        promote(caplog, artifact, "alias=staging", "min_metric=0.95")
    promote(caplog, artifact, "alias=staging", "min_metric=0.85")
    assert holders(server)["staging"] == f"model-{run.name}"


def test_a_checkpoint_from_elsewhere_is_logged_with_its_score_first(
    server, tracked, promote, caplog
):
    run = tracked("trainer.max_epochs=1")
    copied = (run / "checkpoints" / "best.ckpt").rename("copied.ckpt")
    promote(caplog, f"checkpoint={copied}", "alias=production", "min_metric=0")
    assert holders(server)["production"] == "model-copied"
    (model,) = [one for one in server.artifacts if one.collection == "model-copied"]
    facts = json.loads((run / "checkpoints" / "best.json").read_text())
    assert model.metadata[MONITOR] == pytest.approx(facts[MONITOR])
    assert model.files["copied.ckpt"] == copied.read_bytes()


def test_without_a_server_the_link_waits_and_says_so(tracked, promote, caplog):
    run = tracked("trainer.max_epochs=1")
    facts = json.loads((run / "checkpoints" / "best.json").read_text())
    with pytest.raises(SystemExit, match="min_metric asks for 2"):
        promote(caplog, f"checkpoint={run.name}", "alias=production", "min_metric=2")
    said = promote(caplog, f"checkpoint={run.name}", "alias=production", "min_metric=0")
    assert "wandb-sync will make" in said
    link = next(one for one in pending.pending(Run(run)) if one["action"] == "link")
    assert link["artifact"] == f"model-{run.name}:best"
    assert (link["target"], link["alias"]) == (TARGET, "production")
    assert facts[MONITOR] >= 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["alias=production"], "say which"),
        (["checkpoint=nothing", "alias=production"], "only a run in"),
        (["checkpoint=nothing", "alias=a/b"], "alias"),
        (["checkpoint=x", "alias=a", "no_such=1"], "no_such"),
    ],
)
def test_a_mistake_is_named(words, message, promote, caplog, workplace):
    with pytest.raises(SystemExit, match=message):
        promote(caplog, *words)
