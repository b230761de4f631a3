"""Left out as a whole where the package is missing: there is nothing to track with then."""

import os

import pytest

from {{ cookiecutter.package_name }}.tracking.session import installed

collect_ignore_glob = [] if installed() else ["*.py"]


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """Neither a key nor a setting of this machine reaches the tests."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
    yield
    import wandb

    wandb.teardown()
