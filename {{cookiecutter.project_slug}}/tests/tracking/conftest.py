"""Left out as a whole where the package is missing: there is nothing to track with then."""

import os
import sys

import pytest

from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.tracking.client import installed

from small import SHAPES
from tracked import KEY, TRACKED

collect_ignore_glob = [] if installed() else ["*.py"]


def without_account(monkeypatch, folder):
    """Neither a key nor a setting of this machine reaches the tests."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("NETRC", str(folder / "no-netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("CONFIG_DIR", "CACHE_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(folder / name))


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    without_account(monkeypatch, tmp_path)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR"):  # set by each run, left behind by none
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield
    teardown()


def teardown():
    """Flush all there is; the next run starts from a fresh environment."""
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.teardown()


@pytest.fixture
def tracked(command):
    """A small training with ``tracking=wandb``, finished and flushed."""

    def run(*overrides, name="train", small=TRACKED):
        other = name != "train" or any(word.startswith("data=") for word in overrides)
        try:
            return command(name, *small, *(() if other else SHAPES), *overrides)
        finally:
            teardown()

    return run


@pytest.fixture
def server(no_account, monkeypatch):
    """A stand-in for the service; every test with it ends by asking whether it knew all calls."""
    from standin import Server

    with Server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server
        server.fault = None  # a test may leave a fault, but the client has to get out
        teardown()
    assert server.unknown == []


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """One offline training with all there is switched on, for tests that only read."""
    folder = tmp_path_factory.mktemp("recorded")
    overrides = (
        *TRACKED,
        *SHAPES,
        # ~ if cookiecutter.task == "detection"
        "model.score_threshold=0.05",
        # ~ endif
        "pictures.count=6",
        "tracking.group=a-group",
        "tracking.tags=[one,two]",
        "tracking.notes=some notes",
        "tracking.media.images=5",
        "tracking.media.worst=3",
        "tracking.log_model=all",
        "tracking.watch=gradients",
        "tracking.tables.data=4",
        "tracking.tables.predictions=12",
        "tracking.alerts.finished=true",
        "tracking.alerts.rules=[{metric: train/loss, op: '>', value: -1}]",
    )
    with pytest.MonkeyPatch.context() as patched:
        without_account(patched, folder)
        for name in ("WANDB_DIR", "WANDB_DATA_DIR", cli.RUN_ID, cli.RUN_SETTINGS):
            patched.setenv(name, "")
            patched.delenv(name)
        patched.chdir(folder)
        patched.setattr(sys, "argv", ["train", *overrides])
        cli.train()
        teardown()
    return next(path for path in (folder / "runs").iterdir() if (path / "config.yaml").is_file())
