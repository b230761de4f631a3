"""A run has one owner, and what ends a command is explained in a message without a traceback."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
# ~ if cookiecutter.scope == "complete"
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

# ~ else
import time
from pathlib import Path

# ~ endif
import pytest
import torch

from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run import lock
from {{ cookiecutter.package_name }}.run.atomic_files import remove_leftovers, replacing
from {{ cookiecutter.package_name }}.run.failures import explanation
from {{ cookiecutter.package_name }}.run.folder import Run, find_run, read_metrics
from {{ cookiecutter.package_name }}.run.signals import Interrupted, interruptible
from {{ cookiecutter.package_name }}.settings.schema import MONITOR
from {{ cookiecutter.package_name }}.training.backbone import check_name
from {{ cookiecutter.package_name }}.training.checkpoint import (
    read_checkpoint,
    resumable_checkpoint,
)

HOLD = """
import sys, time
from pathlib import Path
from {{ cookiecutter.package_name }}.run.folder import Run
from {{ cookiecutter.package_name }}.run.lock import locked_run
with locked_run(Run(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs" / "a-run")


def epochs_of(run):
    with run.metrics.open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row.get(MONITOR)]


def test_a_second_sigterm_does_not_interrupt_the_end_of_a_command():
    with interruptible():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


# ~ if cookiecutter.scope == "complete"
class SignalledInDestructor:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def signalled_and_ignored():
    with suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def signalled_in_an_import(monkeypatch, folder):
    (folder / "signalled.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGTERM)\n"
        "except BaseException as error:\n    raise ImportError from error\n"
    )
    monkeypatch.syspath_prepend(folder)
    import_module("signalled")


@pytest.mark.parametrize("where", ["destructor", "ignored", "import"])
def test_a_signal_ends_the_command_where_its_exception_would_be_lost(where, monkeypatch, tmp_path):
    with interruptible():
        if where == "destructor":
            SignalledInDestructor()  # deleted at once
        elif where == "ignored":
            signalled_and_ignored()
        else:
            signalled_in_an_import(monkeypatch, tmp_path)
        with pytest.raises(Interrupted):
            time.sleep(10)


def test_a_signal_in_the_last_import_of_a_block_ends_the_command(monkeypatch, tmp_path):
    (tmp_path / "last.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Interrupted), interruptible():
        import_module("last")


def test_ctrl_c_in_an_import_is_answered_once(monkeypatch, tmp_path, capfd):
    code = "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\n"
    (tmp_path / "slow_import.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted), interruptible():
            import_module("slow_import")
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err == "\nEnding in a moment. Another Ctrl-C ends at once.\n"


def test_a_lock_names_its_holder_and_ends_with_it(run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    here = lock.socket.gethostname()
    refused = rf"a-run is being written by process {holder.pid} on {here} since 2[\d: +-]+\.\nWait"
    with pytest.raises(UsageError, match=refused), lock.locked_run(run):
        pass
    holder.kill()
    holder.wait()
    with lock.locked_run(run):
        assert json.loads((run.folder / "run.lock").read_text())["pid"] == os.getpid()
    assert list(run.folder.iterdir()) == []


def test_the_lock_of_another_host_ends_when_it_is_no_longer_renewed(run, monkeypatch):
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.9)
    run.folder.mkdir(parents=True)
    file = run.folder / "run.lock"
    file.write_text('{"host": "another", "pid": 7, "since": "today"}')
    ended = threading.Event()

    def renew():
        while not ended.wait(0.1):
            os.utime(file)

    renewing = threading.Thread(target=renew)
    renewing.start()
    with pytest.raises(UsageError, match="process 7 on another since today"), lock.locked_run(run):
        pass
    ended.set()
    renewing.join()
    with lock.locked_run(run):
        assert json.loads(file.read_text())["pid"] == os.getpid()


# ~ else
def test_a_signal_in_an_import_that_hides_it_ends_the_process(tmp_path):
    (tmp_path / "hiding.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except BaseException as error:\n    raise ImportError from error\n"
    )
    lines = [
        "from {{ cookiecutter.package_name }}.run.signals import interruptible",
        "with interruptible():",
        "    import hiding",
    ]
    words = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "\nEnded at once.\n")


def test_a_lock_ends_with_its_holder(run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    refused = rf"a-run is being written by process {holder.pid} on {lock.socket.gethostname()}\."
    with pytest.raises(UsageError, match=refused), lock.locked_run(run):
        pass
    holder.kill()
    holder.wait()
    with lock.locked_run(run):
        pass
    assert list(run.folder.iterdir()) == []


# ~ endif
def test_only_the_first_process_of_a_run_locks_it(run, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with lock.locked_run(run):
        assert not run.folder.exists()


def test_auto_takes_the_run_that_was_started_last(tmp_path):
    for name, started in (("b", "05"), ("c", "07"), ("d", "06"), ("e", "08")):
        checkpoint = Run(tmp_path / name).last
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
        record = {"started": f"2026-01-01T00:00:{started}+00:00"}
        (tmp_path / name / "environment.json").write_text(json.dumps(record))
    (tmp_path / "e" / "metrics.json").touch()  # it is finished
    assert find_run(tmp_path, "auto").id == "c"
    (tmp_path / "b" / "environment.json").write_text("{")  # then the time of the folder counts
    assert find_run(tmp_path, "auto").id == "b"


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_a_training_without_its_last_checkpoint_goes_on_from_the_best(train, harm, caplog):
    run = Run(train())
    run.results.unlink()
    harm(run.last)
    assert Run(train("resume=auto", "trainer.max_epochs=3")) == run
    assert f"Training continues from {run.best}, step " in caplog.text
    assert epochs_of(run) == [0, 1, 2]
    assert run.results.is_file()


def test_a_run_without_a_whole_checkpoint_is_refused(run):
    run.last.parent.mkdir(parents=True)
    for path in (run.last, run.best):
        path.write_bytes(b"PK")
    with pytest.raises(UsageError, match="cannot be resumed"):
        resumable_checkpoint(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, "it has no settings, classes, global_step, "),
        ([torch.zeros(1)], "cannot be read as a checkpoint: "),
    ],
)
def test_a_file_of_another_program_is_no_checkpoint(tmp_path, content, message):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UsageError, match=message):
        read_checkpoint(tmp_path / "other.ckpt", resume=True)


@pytest.mark.parametrize(
    "damaged", [b"step,a\n1,x\n", b"step,a\n1,2,3\n", b"a\n1\n", b"step\n\xff\n", b"step\n1\0"]
)
def test_a_damaged_table_of_metrics_is_named_with_the_fix(tmp_path, damaged):
    path = tmp_path / "metrics.csv"
    path.write_bytes(damaged + b"\n")
    with pytest.raises(UsageError, match=r"metrics\.csv is damaged: .+\nRepair it, or move"):
        read_metrics(path)


MEMORY = ("loader.batch_size", "trainer.precision")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), MEMORY),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"), MEMORY),
        (MemoryError("Caught MemoryError in DataLoader worker process 0.\nTrace"), MEMORY),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), MEMORY),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), ("loader.workers",)),
        (OSError(errno.EROFS, "Read-only file system", "runs/a"), ("runs/a", "runs=<folder>")),
        (PermissionError(errno.EACCES, "Permission denied", "x"), ("x cannot be used",)),
        (OSError(errno.ENOSPC, "No space"), ("disk is full", "start the command again")),
        (OSError("Caught OSError.\n[Errno 28] No space left"), ("disk is full",)),
    ],
    ids=str,
)
def test_an_error_of_the_machine_is_explained_with_the_fix(run, error, words):
    message = explanation(error, run)
    assert all(word in message for word in words)
    assert "Trace" not in message


def test_a_mistake_in_the_code_is_not_explained_away(run):
    assert explanation(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), run) is None
    assert explanation(FileNotFoundError(errno.ENOENT, "No such file", "x"), run) is None


def test_a_full_disk_before_the_first_checkpoint_offers_no_resume(train, workplace, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SystemExit) as stopped:
        train()
    assert "start the command again" in str(stopped.value.code)
    assert "resume" not in str(stopped.value.code)


def test_runs_that_cannot_be_written_are_named(train, workplace):
    (workplace / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        train("runs=file/runs")
    assert "cannot be used: Not a directory" in str(stopped.value.code)


@pytest.mark.parametrize(
    ("backbone", "near"),
    [("resnet50.a1_in2k", "resnet50.a1_in1k"), ("resnet5", "resnet50"), ("?????", "list")],
)
def test_an_unknown_backbone_or_tag_suggests_known_ones(backbone, near):
    with pytest.raises(UsageError, match=near):
        check_name(backbone)
    check_name("resnet50.a1_in1k")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_data_are_loaded_ends_with_its_code(train, monkeypatch, capsys, signum):
    def send(*_, **__):
        os.kill(os.getpid(), signum)
        time.sleep(5)

    monkeypatch.setattr("{{ cookiecutter.package_name }}.train.build_datasets", send)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted) as ended:
            train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 128 + signum
    assert "start the command again" in capsys.readouterr().err


def test_hidden_files_of_a_killed_process_are_removed(run):
    (run.folder / "checkpoints").mkdir(parents=True)
    with replacing(run.last) as hidden:
        hidden.touch()
        left = hidden.rename(hidden.with_name(f"{hidden.name}.left"))
        hidden.touch()
    run.folder.joinpath(".own").touch()
    remove_leftovers(run.folder)
    assert not left.exists()
    assert run.last.is_file()
    assert run.folder.joinpath(".own").is_file()
