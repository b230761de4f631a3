"""Several processes do what one does: one folder, one set of pictures, the same numbers."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from {{ cookiecutter.package_name }} import cli
from {{ cookiecutter.package_name }}.errors import UsageError
from {{ cookiecutter.package_name }}.run.folder import read_metrics
from {{ cookiecutter.package_name }}.run.identity import agreed_run_id, is_first
from {{ cookiecutter.package_name }}.task import MONITOR

from small import SHAPES, SMALL

BIN = Path(sys.executable).parent
DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.progress=false")
FSDP = ("trainer=fsdp", *DDP[1:])


# One command after another in each of two processes; then how many parts the weights of a
# checkpoint are split into, and the share of them that a process holds.
COMMANDS = """
import json, os, sys
from pathlib import Path
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from PACKAGE import cli
from PACKAGE.checkpoint import load_module
from PACKAGE.sharding import own_part
for name, run_id, *words in json.loads(Path("commands.json").read_text()):
    os.environ[cli.RUN_ID], sys.argv = run_id, [name, *words]
    getattr(cli, name)()
module = load_module(Path("runs/fsdp/checkpoints/best.ckpt"))
module._device_mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("data_parallel", "other"))
module.configure_model()
parts = sum(isinstance(one, FSDPModule) for one in module.modules())
held = sum(own_part(weight).numel() for weight in module.parameters())
share = held / sum(weight.numel() for weight in module.parameters())
Path(f"parts_{os.environ['RANK']}.json").write_text(json.dumps([parts, share]))
""".replace("PACKAGE", cli.__package__)


def run_in_processes(*words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRAIN_")}
    before = set(Path("runs").glob("*"))
    subprocess.run([str(word) for word in words], check=True, env=environ, timeout=120)
    (run,) = set(Path("runs").glob("*")) - before  # one, however many there were
    return run


def measured(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def test_two_processes_share_a_run_and_measure_what_one_measures(command, workplace):
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
    # With 21 images, one of the two gets the first one once more.
    same = (f"checkpoint={run}/checkpoints/best.ckpt", "split=val", "tracking=none")
    torchrun = (BIN / "torchrun", "--standalone", "--nproc-per-node=2", "--no-python")
    shared = run_in_processes(*torchrun, BIN / "evaluate", *same, *DDP)
    alone = command("evaluate", *same, "trainer=cpu", "trainer.progress=false")
    one, two = measured(alone), measured(shared)
    # ~ if cookiecutter.task == "segmentation"
    del one["val/loss"], two["val/loss"]  # Dice's loss is that of a batch, and the batches differ
    # ~ endif
    assert MONITOR in one
    assert two == pytest.approx(one, abs=1e-6)


def learned(run):
    rows = read_metrics(run / "metrics.csv")
    return [{name: row[name] for name in row if not name.startswith("perf/")} for row in rows]


def momenta(checkpoint):
    (optimizer,) = checkpoint["optimizer_states"]
    order = [index for group in optimizer["param_groups"] for index in group["params"]]
    return torch.cat([optimizer["state"][index]["momentum_buffer"].flatten() for index in order])


def test_split_weights_train_and_continue_as_whole_ones_do(command, workplace):
    steady = ("optimizer=sgd", "optimizer.lr=0.001", "schedule.warmup=0", "schedule.final_lr=1")
    words = (*SMALL, *SHAPES, "data.val_images=21", *steady, "trainer.max_epochs=2")
    best = ("split=val", "checkpoint=runs/fsdp/checkpoints/best.ckpt", "tracking=none")
    commands = [
        ["train", "ddp", *words, *DDP],
        ["train", "fsdp", *words, *FSDP],
        ["train", "ddp", "resume=ddp", "trainer.max_epochs=3"],
        ["train", "fsdp", "resume=fsdp", "trainer.max_epochs=3"],
        ["evaluate", "shared", *best, *FSDP],
    ]
    Path("commands.json").write_text(json.dumps(commands))
    Path("commands.py").write_text(COMMANDS)
    torchrun = (BIN / "torchrun", "--standalone", "--nproc-per-node=2", "commands.py")
    subprocess.run(torchrun, check=True, timeout=120)
    runs = [Path("runs/ddp"), Path("runs/fsdp")]
    ends = [torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in runs]
    assert [end["epoch"] for end in ends] == [2, 2]
    for name in ("state_dict", "trained_weights"):
        torch.testing.assert_close(ends[0][name], ends[1][name], rtol=0, atol=2e-4)
    whole, split = map(momenta, ends)
    assert (whole - split).norm() < 0.02 * whole.norm()
    whole, split = map(learned, runs)
    assert len(whole) > 6
    assert split == [pytest.approx(row, rel=1e-3, abs=1e-4) for row in whole]
    assert len(list(runs[1].glob("predictions/epoch_*.png"))) == 3
    # The file has all weights: one process alone measures what the two measured.
    alone = measured(command("evaluate", *best, "trainer=cpu"))
    shared = measured(Path("runs/shared"))
    # ~ if cookiecutter.task == "segmentation"
    del alone["val/loss"], shared["val/loss"]
    # ~ endif
    assert shared == pytest.approx(alone, abs=1e-6)
    for rank in (0, 1):
        parts, share = json.loads(Path(f"parts_{rank}.json").read_text())
        assert parts > 1
        assert share == pytest.approx(0.5, abs=0.1)


def test_what_was_trained_on_whole_weights_is_not_continued_on_parts(train, command):
    run = train("trainer.max_epochs=1")
    with pytest.raises(SystemExit, match="fsdp cannot go on from it"):
        command("train", f"resume={run.name}", *FSDP, "trainer.max_epochs=2")


def test_split_weights_need_a_number_of_processes(train):
    with pytest.raises(SystemExit, match=r"trainer\.devices=<number"):
        train(*FSDP, "trainer.devices=auto")


def test_the_first_process_is_known_before_lightning_starts():
    assert is_first({})
    assert is_first({"RANK": "0", "LOCAL_RANK": "0"})
    assert is_first({"SLURM_PROCID": "0"})
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        assert not is_first({name: "1"})


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
    # A shell on a cluster starts as many trainings as somebody types.
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
        timeout=120,
    )
    assert done.returncode != 0
    assert "2 processes were started, but the settings are for 1" in done.stderr
    assert "Error executing job" not in done.stderr
