"""``promote`` with a registry."""

import pytest
from shape_sorter.settings.schema import MONITOR
from shape_sorter.tracking.promote import main
from tracked import teardown

TARGET = "wandb-registry-model/shape-sorter"


@pytest.fixture
def promote(monkeypatch, capsys):
    """The command; returns its message."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["promote", *words])
        try:
            main()
        finally:
            teardown()
        return capsys.readouterr().out

    return run


def holders(server):
    """The model that has each alias in the registry."""
    return {alias: link.artifact.collection for link in server.links for alias in link.aliases}


def test_a_model_is_linked_unless_a_better_one_holds_the_alias(server, tracked, promote):
    run = tracked("trainer.max_epochs=1")
    message = promote(f"checkpoint={run.name}", "alias=production")
    assert f"is now production of {TARGET}" in message
    assert holders(server)["production"] == f"model-{run.name}"
    better = tracked("trainer.max_epochs=1")
    models = {artifact.collection: artifact for artifact in server.artifacts if artifact.type == "model"}
    models[f"model-{run.name}"].metadata[MONITOR] = 0.9
    models[f"model-{better.name}"].metadata[MONITOR] = 0.8
    path = f"checkpoint={better.absolute()}"
    with pytest.raises(SystemExit, match=r"the current model has 0\.9"):
        promote(path, "alias=production")
    assert holders(server)["production"] == f"model-{run.name}"
    promote(path, "alias=production", "force=true")
    assert holders(server)["production"] == f"model-{better.name}"
    artifact = f"checkpoint=wandb:model-{run.name}:best"
    with pytest.raises(SystemExit, match=r"min_metric is 0\.95"):
        promote(artifact, "alias=staging", "min_metric=0.95")
    promote(artifact, "alias=staging", "min_metric=0.85")
    assert holders(server)["staging"] == f"model-{run.name}"
