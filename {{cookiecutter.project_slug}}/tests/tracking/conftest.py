"""Tests of tracking run offline; without the package ``wandb`` they are left out."""

import sys

import pytest

from {{ cookiecutter.package_name }} import cli
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.tracking import tables
# ~ endif
from {{ cookiecutter.package_name }}.tracking.client import installed

from small import SHAPES
from tracked import TRACKED, teardown, without_account

collect_ignore_glob = [] if installed() else ["*.py"]


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    without_account(monkeypatch, tmp_path)
    yield
    teardown()


@pytest.fixture
def tracked(command):
    """A command with ``tracking=wandb``, by default a small training; returns the run folder."""

    def run(*overrides, name="train", small=TRACKED):
        has_data = name != "train" or any(word.startswith("data=") for word in overrides)
        try:
            return command(name, *small, *(() if has_data else SHAPES), *overrides)
        finally:
            teardown()

    return run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """The folder of a training run that logs everything, for tests that only read."""
    folder = tmp_path_factory.mktemp("recorded")
    overrides = (
        *TRACKED,
        *SHAPES,
        # ~ if cookiecutter.task == "detection"
        "model.score_threshold=0.05",
        # ~ endif
        "pictures.count=6",
        "tracking.group=a-group",
        "tracking.tags=[first,second]",
        "tracking.notes=some notes",
        "tracking.media.images=5",
        # ~ if cookiecutter.scope == "complete"
        "tracking.log_model=all",
        "trainer.save_top_k=2",
        "tracking.watch=all",
        "tracking.watch_every_n_steps=3",
        "tracking.alerts.finished=true",
        "tracking.alerts.rules=[{metric: train/loss, op: '>', value: -1}]",
        # ~ endif
    )
    with pytest.MonkeyPatch.context() as patched:
        without_account(patched, folder)
        teardown()  # the service of an earlier test writes to the folder of that test
        for name in (cli.RUN_ID, cli.RUN_SETTINGS):
            patched.setenv(name, "")
            patched.delenv(name)
        # ~ if cookiecutter.scope == "complete"
        patched.setattr(tables, "DATA_ROWS", 4)
        patched.setattr(tables, "PREDICTION_ROWS", 12)
        # ~ endif
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["train", *overrides])
        cli.train()
        teardown()
    return next(path for path in (folder / "runs").iterdir() if (path / "config.yaml").is_file())
