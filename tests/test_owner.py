"""One owner of a run: two commands at once, signals, and kills, with real processes."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import Project

pytestmark = pytest.mark.slow

DATA = ("data.image_size=32", "data.train_images=80", "data.val_images=20", "data.test_images=20")
QUICK = ("loader.workers=0", "loader.batch_size=10", "trainer.progress=false", "trainer.accelerator=cpu")
SMALL = (*DATA, *QUICK, "model.backbone=test_resnet", "trainer.log_every_n_steps=1")
ENDLESS = (*SMALL, "trainer.max_epochs=1000")
COMMANDS = {
    "doctor": (*SMALL, "steps=100000"),
    "bench": (*SMALL, "steps=100000"),
    "evaluate": ("checkpoint={best}", "data.test_images=20000", *QUICK),
    "predict": ("checkpoint={best}", "source=many", *QUICK),
    "tune": (*ENDLESS, "trials=1", "study={study}"),
    "export": ("checkpoint={best}", "data.test_images=20000", *QUICK),
}
STARTED = {"config.yaml", "study.db"}  # the first file that a command writes

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(stripped: Project) -> Iterator[Start]:
    """Start a command of the project, without uv between it and its signals."""
    processes: list[subprocess.Popen[str]] = []
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

    def started(*words: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("TRAIN_", "PYTEST_"))}
        process = subprocess.Popen(
            [stripped.folder / ".venv" / "bin" / words[0], *words[1:]],
            cwd=stripped.folder,
            env=environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        processes.append(process)
        return process

    yield started
    signal.signal(signal.SIGINT, handler)
    for process in processes:
        if process.poll() is None:
            process.terminate()  # a search ends its training with it
            process.communicate()


def output(process: subprocess.Popen[str], timeout: float = 300) -> str:
    return process.communicate(timeout=timeout)[0]


def wait_for(what: Callable[[], object], *processes: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not what():
        for process in processes:
            assert process.poll() is None, output(process)
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.05)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def new_run(stripped: Project) -> Callable[[], Path | None]:
    """Return the run folder that was made after the test began, once it is there."""
    before = set((stripped.folder / "runs").glob("*"))
    return lambda: next(iter(set((stripped.folder / "runs").glob("2*")) - before), None)


@pytest.fixture(scope="session")
def best(stripped: Project) -> str:
    """A checkpoint of a short training."""
    done = stripped.run(".venv/bin/train", *SMALL, "trainer.max_epochs=1", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    run = max((stripped.folder / "runs").glob("2*"))
    (stripped.folder / "many").mkdir()
    image = next((stripped.folder / "data").rglob("*.png")).read_bytes()
    for number in range(5000):
        (stripped.folder / "many" / f"{number}.png").write_bytes(image)
    return str(run.relative_to(stripped.folder) / "checkpoints" / "best.ckpt")


def test_a_run_that_is_written_refuses_a_second_command_and_can_be_read(
    start: Start, new_run: Callable[[], Path | None]
) -> None:
    first = start("train", *ENDLESS)
    wait_for(lambda: (run := new_run()) and (run / "checkpoints" / "last.ckpt").is_file(), first)
    run = new_run()
    assert run is not None
    held = json.loads((run / "run.lock").read_text(encoding="utf-8"))
    assert (held["host"], held["pid"]) == (socket.gethostname(), first.pid)
    for which in ("auto", run.name):
        second = start("train", f"resume={which}")
        said = output(second)
        assert second.returncode == 1
        assert f"The run {run.name} is being written by process {first.pid} on {held['host']} since" in said
        assert "Traceback" not in said
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    for words in (
        ("evaluate", checkpoint),
        ("predict", checkpoint, "source=data/**/val/*/*.png"),
        ("export", checkpoint),
    ):
        reader = start(*words, *QUICK)
        assert "Traceback" not in output(reader)
        assert reader.returncode == 0
    first.kill()
    first.wait()
    assert (run / "run.lock").is_file()
    assert not (run / "failure.txt").exists()
    steps = [int(row["step"]) for row in rows(run) if row["train/loss"]]
    assert steps == list(range(len(steps)))
    # The lock of a killed training holds nobody up.
    epochs = steps[-1] // 8 + 2
    resumed = start("train", "resume=auto", f"trainer.max_epochs={epochs}")
    assert "Traceback" not in output(resumed)
    assert resumed.returncode == 0
    steps = [int(row["step"]) for row in rows(run) if row["train/loss"]]
    assert steps == list(range(8 * epochs))
    assert not (run / "run.lock").exists()


@pytest.mark.parametrize(
    ("send", "signum"),
    [(os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM), (os.kill, signal.SIGINT)],
    ids=["terminated", "terminated with its workers", "interrupted"],
)
def test_a_training_that_is_ended_by_a_signal_keeps_the_step_and_says_how_to_go_on(
    start: Start, new_run: Callable[[], Path | None], send: Callable[[int, int], None], signum: signal.Signals
) -> None:
    process = start("train", *ENDLESS, "loader.workers=1")
    wait_for(lambda: (run := new_run()) and (run / "metrics.csv").is_file() and len(rows(run)) > 12, process)
    send(process.pid, signum)
    said = output(process)
    run = new_run()
    assert run is not None
    assert process.returncode == 128 + signum
    assert f"To continue: uv run train resume={run.name}" in said
    assert "Traceback" not in said
    logged = [int(row["step"]) for row in rows(run) if row["train/loss"]]
    assert logged == list(range(len(logged)))
    for line in said.splitlines():
        if line.startswith("Saved"):  # not after the last step of an epoch
            assert logged[-1] == int(line.split("step ")[1].split(";")[0]) - 1


@pytest.mark.parametrize(("signum", "seconds"), [(signal.SIGINT, 1), (signal.SIGTERM, 6)], ids=["importing", "working"])
def test_every_command_ends_with_the_code_of_the_signal(
    stripped: Project, start: Start, best: str, signum: signal.Signals, seconds: int
) -> None:
    def files() -> set[Path]:
        # Unlike ``rglob``, ``walk`` ignores folders that vanish.
        walked = [(Path(folder), [*names, *folders]) for folder, folders, names in os.walk(stripped.folder)]
        return {folder / name for folder, names in walked for name in names if ".venv" not in folder.parts}

    before = files()
    processes = {
        # Each signal has a study of its own, since a search that was stopped goes on in the folders it has.
        name: start(name, *(word.format(best=best, study=signum.name) for word in words))
        for name, words in COMMANDS.items()
    }
    wait_for(
        lambda: len([path for path in files() - before if path.name in STARTED]) >= len(COMMANDS), *processes.values()
    )
    time.sleep(seconds)
    for name, process in processes.items():
        assert process.poll() is None, (name, output(process))
        process.send_signal(signum)
    for name, process in processes.items():
        said = output(process)
        assert process.returncode == 128 + signum, (name, said)
        assert "Traceback" not in said
        assert "start the command again" in said or "The same command continues" in said
    assert [path for path in files() - before if path.name.startswith(".")] == []


def test_ctrl_c_during_imports_and_twice_is_a_line(start: Start) -> None:
    for delay in (0.3, 0.6, 1):  # Python itself starts in the first tenth of a second
        for times in (1, 2):
            process = start("train", *ENDLESS)
            time.sleep(delay)
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(0.02)
            said = output(process)
            assert process.returncode in {130, -signal.SIGINT}, said
            assert "Traceback" not in said
            assert len(re.findall("Ended|was ended", said)) <= times, said  # a message for each Ctrl-C


def newest_image(drawn: Path, since: float) -> bool:
    try:
        return any(path.stat().st_mtime > since for path in drawn.glob(".drawing-*/*/*/*"))
    except FileNotFoundError:  # the command removes the images of a killed one meanwhile
        return False


def test_drawing_that_was_killed_leaves_nothing_behind(stripped: Project, start: Start) -> None:
    words = ("train", *SMALL, "data.root=data/drawn", "trainer.max_epochs=1")
    drawn = stripped.folder / "data" / "drawn"
    for signum, size in ((signal.SIGKILL, 100_001), (signal.SIGTERM, 100_002)):
        process = start(*words, f"data.train_images={size}")
        wait_for(partial(newest_image, drawn, since=time.time()), process)
        process.send_signal(signum)
        output(process)
        assert bool([*drawn.glob(".drawing-*")]) == (signum == signal.SIGKILL)
    process = start(*words)
    output(process)
    assert process.returncode == 0
    assert [path.name for path in drawn.iterdir() if path.name.startswith(".")] == []
