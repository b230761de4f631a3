"""Training and evaluation in several processes: a single run folder, the same metrics."""

import json
import os
import subprocess
import sys
# ~ if cookiecutter.scope == "complete"
import threading
# ~ endif
from pathlib import Path

import pytest
# ~ if cookiecutter.scope == "complete"
from torch.distributed import TCPStore
# ~ endif
from torch.utils.data import DataLoader

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import start_worker
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
# ~ endif
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.processes import RANKS, agreed_run_id, is_first
# ~ else
from {{ cookiecutter.package_name }}.run.processes import RANKS, is_first
# ~ endif
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings

from small import OWN, SHAPES, SMALL, composed, write_unsplit_data

BIN = Path(sys.executable).parent
DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.progress=false")


def run_in_processes(*words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    before = set(Path("runs").glob("*"))
    subprocess.run([str(word) for word in words], check=True, env=environ, timeout=300)
    (run,) = set(Path("runs").glob("*")) - before
    return run


def measured(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def test_two_processes_share_a_run_and_get_the_metrics_of_a_single_process(command, workplace):
    words = [*SMALL, *SHAPES, *DDP, "data.val_images=21", "trainer.max_epochs=3"]
    # ~ if cookiecutter.use_wandb
    words += ["tracking=[wandb,tensorboard]", "tracking.mode=offline"]
    # ~ else
    words += ["tracking=tensorboard"]
    # ~ endif
    run = run_in_processes(BIN / "train", *words)
    assert len(list((run / "predictions").glob("epoch_*.png"))) == 3
    assert len((run / "metrics.csv").read_text().splitlines()) > 3
    assert "test/" in (run / "metrics.json").read_text()
    # ~ if cookiecutter.use_wandb
    assert len(list(run.glob("wandb/offline-run-*/*.wandb"))) == 1  # the other rank makes none
    # ~ endif
    events = run.glob("tensorboard/events.*")
    assert len({path.name.split(".")[-2] for path in events}) == 1  # process ids
    # Of 21 images, the second process gets 10 and the first image once more.
    same = (f"checkpoint={run}/checkpoints/best.ckpt", "split=val", "tracking=none")
    # ~ if cookiecutter.scope == "complete"
    torchrun = (BIN / "torchrun", "--standalone", "--nproc-per-node=2", "--no-python")
    shared = run_in_processes(*torchrun, BIN / "evaluate", *same, *DDP)
    # ~ else
    shared = run_in_processes(BIN / "evaluate", *same, *DDP)
    # ~ endif
    single = command("evaluate", *same, "trainer=cpu", "trainer.progress=false")
    expected, metrics = measured(single), measured(shared)
    # ~ if cookiecutter.task == "segmentation"
    # The Dice loss is computed by batch, and the batches differ.
    del expected["val/loss"], metrics["val/loss"]
    # ~ endif
    assert MONITOR in expected
    assert metrics == pytest.approx(expected, abs=1e-6)


def test_the_unreadable_images_of_all_processes_are_listed(workplace):
    write_unsplit_data(workplace / "photos", count=40)
    words = ("data.root=photos", "data.skip_unreadable=true", "tracking=none")
    datasets = build_datasets(check(composed(OWN, *words), Settings).data)
    broken = [str(path) for path in datasets.test.paths[:2]]  # one for each process
    for path in broken:
        Path(path).write_bytes(b"no image")
    run = run_in_processes(BIN / "train", *SMALL, OWN, *words, *DDP, "trainer.max_epochs=1")
    assert (run / "unreadable.txt").read_text().splitlines() == sorted(broken)
    assert json.loads((run / "metrics.json").read_text())["unreadable_images"] == 2


# ~ if cookiecutter.scope == "complete"
def test_processes_of_torchrun_agree_on_the_id_of_one_of_them():
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environ = {
        "TORCHELASTIC_RUN_ID": "none",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
    }
    found = []
    threads = [
        threading.Thread(target=lambda name=name: found.append(agreed_run_id(name, environ)))
        for name in ("a", "b", "c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 3
    assert len(set(found)) == 1
    assert set(found) <= {"a", "b", "c"}
    with pytest.raises(UsageError, match="TRAIN_RUN_ID"):
        agreed_run_id("a", environ | {"TORCHELASTIC_USE_AGENT_STORE": "False"})


def test_tasks_of_srun_take_the_id_of_their_step():
    step = {"SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    assert agreed_run_id("own", step) == "slurm-42.0"
    # A shell on a cluster starts as many training runs as somebody types.
    assert agreed_run_id("own", step | {"SLURM_NTASKS": "1"}) == "own"
    assert agreed_run_id("own", {"SLURM_JOB_ID": "42", "SLURM_NTASKS": "2"}) == "own"


def test_more_processes_than_the_settings_say_are_refused(workplace):
    words = (*SMALL, *SHAPES, "trainer.accelerator=cpu")  # one device, by default
    torchrun = (BIN / "torchrun", "--standalone", "--nproc-per-node=2", "--no-python")
    done = subprocess.run(
        [str(word) for word in (*torchrun, BIN / "train", *words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert "2 processes were started, but the settings are for 1" in done.stderr
    assert "Error executing job" not in done.stderr


# ~ endif
@pytest.mark.parametrize("name", RANKS)
def test_the_first_process_is_recognised_by_its_environment(name):
    assert is_first({})
    assert is_first({name: "0"})
    assert not is_first({name: "1"})


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not name the sender")
def test_a_worker_ends_with_the_signal_of_its_own_process_only():
    loader = DataLoader(range(100), num_workers=1, worker_init_fn=start_worker)
    batches = iter(loader)
    (worker,) = batches._workers
    next(batches)
    subprocess.run(["kill", str(worker.pid)], check=True)  # as a scheduler does
    assert len([*batches]) == 99
    batches = iter(loader)
    (worker,) = batches._workers
    next(batches)
    worker.terminate()  # as Python does at exit, where it then waits
    worker.join(20)
    assert worker.exitcode == 0
