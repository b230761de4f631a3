"""Two machines, as two network namespaces of this one: a training over both, preempted and resumed."""

import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="network namespaces need root and iproute2",
    ),
]

ADDRESSES = ("10.77.0.1", "10.77.0.2")
SMALL = (
    *("data.image_size=32", "model.backbone=test_resnet", "loader.batch_size=10", "loader.workers=0"),
    *("data.train_images=80", "data.val_images=21", "data.test_images=20", "trainer.progress=false"),
    *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2"),
    "trainer.log_every_n_steps=2",
)

Start = Callable[..., list[subprocess.Popen[str]]]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def start(stripped: Project) -> Iterator[Start]:
    """Start a training on both machines, as its owner would: the same command, with the machine's number."""
    names = [f"cv{os.getpid()}-{rank}" for rank in range(2)]
    for name in names:
        ip("netns", "add", name)
    processes: list[subprocess.Popen[str]] = []

    def started(*words: str) -> list[subprocess.Popen[str]]:
        now = []
        for rank, name in enumerate(names):
            launcher = ("torchrun", "--nnodes=2", f"--node-rank={rank}", f"--master-addr={ADDRESSES[0]}")
            environ = {
                key: value for key, value in os.environ.items() if not key.startswith(("TRAIN_", "WANDB_", "PYTEST_"))
            }
            environ |= {"PATH": f"{stripped.folder}/.venv/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
            environ |= {"GLOO_SOCKET_IFNAME": f"eth{rank}", "PYTHONFAULTHANDLER": "1"}
            now.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", name, *launcher, "--nproc-per-node=1", "--no-python", "train", *words],
                    cwd=stripped.folder,
                    env=environ,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        processes.extend(now)
        return now

    try:
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", names[1])
        for rank, name in enumerate(names):
            ip("-n", name, "addr", "add", f"{ADDRESSES[rank]}/24", "dev", f"eth{rank}")
            for device in ("lo", f"eth{rank}"):
                ip("-n", name, "link", "set", device, "up")
        yield started
    finally:
        for process in processes:
            end(process, signal.SIGKILL)
            process.wait()
        for name in names:
            ip("netns", "delete", name)


def ended(processes: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """The exit codes and the output; processes that do not end are aborted, and print where they were."""
    with ThreadPoolExecutor(len(processes)) as pool:  # each pipe is read, so that no process waits for it
        outputs = [pool.submit(process.communicate) for process in processes]
        for process in processes if wait(outputs, timeout=300).not_done else []:
            end(process, signal.SIGABRT)
        said = [output.result()[0] for output in outputs]
    return [process.returncode for process in processes], "\n".join(said)


def epochs(run: Path) -> list[int]:
    if not (run / "metrics.csv").is_file():
        return []
    with (run / "metrics.csv").open(newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row.get("val/accuracy")]


def trainings(process: subprocess.Popen[str]) -> list[int]:
    """The trainings that a launcher has started, and that still run."""
    with suppress(OSError):  # it has ended
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
        return [*map(int, children.split())]
    return []


def end(process: subprocess.Popen[str], signum: int) -> None:
    """Send a signal to the training of a launcher, and to the launcher, unless they have ended."""
    for pid in (*trainings(process), process.pid) if process.poll() is None else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def test_two_machines_train_in_one_folder_and_end_together_when_one_is_wanted_back(
    stripped: Project, start: Start
) -> None:
    before = set((stripped.folder / "runs").glob("*"))
    processes = start(*SMALL, "trainer.max_epochs=1000")
    deadline = time.monotonic() + 300
    while not (runs := [run for run in (stripped.folder / "runs").glob("*") if run not in before and epochs(run)]):
        assert all(process.poll() is None for process in processes), ended(processes)
        assert time.monotonic() < deadline
        time.sleep(0.5)
    (run,) = runs  # one, though each machine has chosen an id
    os.kill(trainings(processes[1])[0], signal.SIGUSR1)
    codes, said = ended(processes)
    assert all(codes), said
    assert f"Saved runs/{run.name}/checkpoints/last.ckpt" in said
    last = epochs(run)[-1]
    codes, said = ended(start("resume=auto", f"trainer.max_epochs={last + 3}", *SMALL[-4:]))
    assert codes == [0, 0], said
    assert epochs(run) == list(range(last + 3))
    assert (run / "metrics.json").is_file()
    assert set((stripped.folder / "runs").glob("*")) - before == {run}
