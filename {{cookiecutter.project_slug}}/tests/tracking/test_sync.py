"""``wandb-sync`` without a server: what is not uploaded, and why."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.tracking import registry, sync

from reading import artifacts, entries, file_of


def test_a_run_with_missing_files_is_not_uploaded(tracked, workplace, monkeypatch, capsys):
    run = tracked("trainer.max_epochs=1")
    (model,) = artifacts(run, "model")
    staged = Path(entries(model)["best.ckpt"])
    staged.unlink()
    (workplace / "private.txt").touch()
    staged.symlink_to(workplace / "private.txt")  # a file elsewhere counts as missing
    monkeypatch.setattr(sys, "argv", ["wandb-sync"])
    with pytest.raises(SystemExit, match="1"):
        sync.main()
    printed = capsys.readouterr().out
    assert "0 of 1 runs uploaded" in printed
    assert "1 of its files are missing in its folder" in printed
    assert not file_of(run).with_name(f"{file_of(run).name}.synced").exists()
    (action,) = registry.pending(Run(run))  # an offline run cannot use the artifact that it logs
    assert action["action"] == "use"
    assert action["artifact"].startswith("data-shapes:")


def test_without_the_package_its_installation_is_named(workplace, monkeypatch):
    monkeypatch.setattr(sync, "installed", lambda: False)
    monkeypatch.setattr(sys, "argv", ["wandb-sync", str(workplace)])
    with pytest.raises(SystemExit, match="Install it: uv sync"):
        sync.main()


def test_a_folder_that_does_not_exist_is_named(workplace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wandb-sync", "nowhere"])
    with pytest.raises(SystemExit, match="nowhere is not a folder"):
        sync.main()


def test_ctrl_c_ends_the_command_with_a_line(workplace, monkeypatch, capsys):
    def stopped(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)  # another thread may receive the signal, and the main one a little later

    monkeypatch.setattr(sync, "sync", stopped)
    monkeypatch.setattr(sys, "argv", ["wandb-sync", str(workplace)])
    with pytest.raises(SystemExit) as ended:
        sync.main()
    assert ended.value.code == 130
    assert "wandb-sync was ended by SIGINT" in capsys.readouterr().err
