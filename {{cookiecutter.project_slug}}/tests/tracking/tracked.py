"""A training run of seconds with ``tracking=wandb``, without the account of this machine."""

import os
import sys

from small import SMALL

TRACKED = (*(word for word in SMALL if not word.startswith("tracking")), "tracking=wandb")
PLAIN = ("trainer=cpu", "tracking=wandb")  # for commands that take a checkpoint
KEY = "planted0" * 5  # the API key of an account that does not exist


def without_account(monkeypatch, folder):
    """Hide the API key and the settings of this machine."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("NETRC", str(folder / "no-netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("CONFIG_DIR", "CACHE_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(folder / name))
    for name in ("WANDB_DIR", "WANDB_DATA_DIR"):  # a run sets them; remove them afterwards
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def teardown():
    """Write all files of W&B, and let the next run read the environment again."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()
