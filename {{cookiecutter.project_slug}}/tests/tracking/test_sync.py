"""``wandb-sync`` without a server: what is not uploaded, and why."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.tracking import registry, sync, upload_status

from reading import artifacts, entries


def test_files_that_an_upload_needs_are_those_in_the_run_folder(tracked, workplace):
    run = tracked("trainer.max_epochs=1")
    (session,) = upload_status.sessions(run / "wandb")
    assert sync.lost_files(session) == []
    (model,) = artifacts(run, "model")
    staged = Path(entries(model)["best.ckpt"])
    staged.unlink()
    assert sync.lost_files(session) == [str(staged)]
    (workplace / "private.txt").touch()
    staged.symlink_to(workplace / "private.txt")
    assert sync.lost_files(session) == [str(staged)]
    (action,) = registry.pending(Run(run))  # an offline run cannot use the artifact that it logs
    assert action["action"] == "use"
    assert action["artifact"].startswith("data-shapes:")


def test_actions_of_a_run_that_was_never_recorded_stay_with_the_reason(workplace):
    run = Run(workplace / "one")
    run.folder.mkdir()
    registry.postpone(run, {"action": "use", "artifact": "a:b"})
    (problem,) = sync.do_pending(run, [])
    assert problem.endswith("wandb-pending.json: use: the server has no such run")
    assert registry.pending(run)


def test_an_offline_session_follows_an_online_one_of_the_same_second(workplace):
    for name in ("offline-run-2_a", "run-2_a", "run-1_a"):
        (workplace / name).mkdir()
        (workplace / name / "a.wandb").write_bytes(bytes(1000))
    names = [session.file.parent.name for session in sync.sessions(workplace)]
    assert names == ["run-1_a", "run-2_a", "offline-run-2_a"]


def test_without_the_package_its_installation_is_named(workplace, monkeypatch):
    monkeypatch.setattr(sync, "installed", lambda: False)
    monkeypatch.setattr(sys, "argv", ["wandb-sync", str(workplace)])
    with pytest.raises(SystemExit, match="Install it: uv sync"):
        sync.main()


def test_a_folder_that_does_not_exist_is_named(workplace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["wandb-sync", "nowhere"])
    with pytest.raises(SystemExit, match="nowhere is not a folder"):
        sync.main()


def test_ctrl_c_ends_the_command_without_a_traceback(workplace, monkeypatch):
    def stopped(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)  # another thread may receive the signal, and the main one a little later

    monkeypatch.setattr(sync, "sync", stopped)
    monkeypatch.setattr(sys, "argv", ["wandb-sync", str(workplace)])
    with pytest.raises(SystemExit) as ended:
        sync.main()
    assert ended.value.code == 130
