import gc
import logging
import re
import subprocess
import sys
from collections import Counter
from io import StringIO
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace

import pytest
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.connectors.logger_connector.logger_connector import (
    _LoggerConnector as Results,
)
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.text import Text
from torch.utils._python_dispatch import TorchDispatchMode

# ~ if cookiecutter.task != "segmentation"
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.dataset import build_datasets
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.module import (
    {{ cookiecutter.task | capitalize }}Module as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.run.folder import read_metrics
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.module import (
    SegmentationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings import hydra_launch
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings
from {{ cookiecutter.package_name }}.training.callbacks.each_step import GradientClipping
from {{ cookiecutter.package_name }}.training.callbacks.progress import ProgressBar

from small import SHAPES, SMALL, composed


@pytest.mark.parametrize(("limit", "clipped"), [(1.0, 1.0), (None, 5.0), (10.0, 5.0)])
def test_gradients_are_clipped_to_a_norm_that_is_logged_before(limit, clipped):
    module = torch.nn.Linear(2, 1, bias=False)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    logged = {}
    module.log_dict = logged.update
    trainer = SimpleNamespace(global_step=0, log_every_n_steps=50, accumulate_grad_batches=1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.25)
    clipping = GradientClipping(limit)
    clipping.on_train_batch_start(trainer, module, None, 0)
    clipping.on_before_optimizer_step(trainer, module, optimizer)
    torch.testing.assert_close(module.weight.grad.norm(), torch.tensor(clipped))
    assert logged == {"train/grad_norm": 5.0, "train/lr": 0.25}


class Waits(TorchDispatchMode):
    """Counts the operations for which the CPU would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}
        self.count += function.name() in waits
        return function(*args, **(kwargs or {}))


def test_between_logged_steps_nothing_waits_for_the_device(train, monkeypatch):
    counts, logged = [], []

    def on_step(self, closure, **named):
        with Waits() as waits:
            step(self, closure, **named)
        counts.append(waits.count)

    def on_results(self):
        with Waits() as waits:
            results(self)
        counts.append(waits.count)

    def on_log(self, name, value, **named):
        logged.append((name, value))
        return log(self, name, value, **named)

    # ~ if cookiecutter.task != "classification"
    # ~ if cookiecutter.task == "detection"
    # Not of ours: torchvision's losses look for the places of boxes.
    # ~ else
    # Not of ours: on CPUs, and only there, PyTorch's one_hot checks the ids.
    # ~ endif
    def on_loss(self, batch, batch_idx):
        with Waits() as waits:
            loss = training_step(self, batch, batch_idx)
        counts.append(-waits.count)
        return loss

    training_step = TaskModule.training_step
    monkeypatch.setattr(TaskModule, "training_step", on_loss)
    # ~ endif
    step, results, log = LightningOptimizer.step, Results.on_batch_end, TaskModule.log
    monkeypatch.setattr(LightningOptimizer, "step", on_step)
    monkeypatch.setattr(Results, "on_batch_end", on_results)
    monkeypatch.setattr(TaskModule, "log", on_log)
    train("trainer.max_epochs=1", "trainer.log_every_n_steps=1000")
    assert len([name for name, _ in logged if name == "train/lr"]) == 2 < len(counts)
    assert sum(counts) == 0
    numbers = [name for name, value in logged if not isinstance(value, torch.Tensor)]
    assert not [name for name in numbers if name.startswith("train/")]


def test_a_training_opens_each_file_once_an_epoch(train, monkeypatch):
    opened = Counter()

    def counted(function):
        def count(path, *arguments, **named):
            opened[str(path)] += 1
            return function(path, *arguments, **named)

        return count

    monkeypatch.setattr(Image, "open", counted(Image.open))
    train("trainer.max_epochs=3")
    times = [count for path, count in opened.items() if "train" in Path(path).parts]
    assert len(times) >= 40
    # ~ if cookiecutter.scope == "complete"
    assert 2 + 3 in times  # before training, for the number of frames and the range of the values
    # ~ endif
    # ~ if cookiecutter.task == "segmentation"
    assert set(times) <= {3, 1 + 3, 2 + 3, 3 + 3}  # and the orientation of images with masks


    # ~ else
    assert set(times) <= {3, 1 + 3, 2 + 3}


    # ~ endif


COLLECTION = """
import gc, sys
from PACKAGE import cli
sys.argv = ["train", *sys.argv[1:]]
cli.train()
print("frozen:", gc.get_freeze_count(), gc.isenabled())
"""


def test_objects_of_imports_are_exempt_from_garbage_collection(tmp_path):
    code = COLLECTION.replace("PACKAGE", hydra_launch.__package__.split(".")[0])
    words = [*SMALL, *SHAPES, "debug=fast"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    frozen, enabled = re.search(r"frozen: (\d+) (\w+)", done.stdout).groups()
    assert int(frozen) > 100_000
    assert enabled == "True"
    assert "leaked" not in done.stderr


def count_objects(root):
    """The number of Python objects that an object refers to; an array counts as a single object."""
    seen, pending = {}, [root]
    while pending:
        item = pending.pop()
        if id(item) not in seen and not isinstance(item, type | ModuleType | FunctionType):
            seen[id(item)] = item
            pending += gc.get_referents(item)
    return len(seen)


def test_a_larger_data_set_does_not_consist_of_more_objects(tmp_path):
    counts = []
    for number in (10, 60):
        words = [*SMALL, f"data.root={tmp_path}/shapes", f"data.train_images={number}"]
        config = composed(*words, "data.val_images=10", "data.test_images=10")
        counts.append(count_objects(build_datasets(check(config, Settings).data).train))
    assert abs(counts[1] - counts[0]) < 10


def test_the_progress_bar_shows_the_last_logged_loss_and_the_score_in_one_line():
    bar = ProgressBar()
    trainer = SimpleNamespace(progress_bar_metrics={MONITOR: 0.25}, log_every_n_steps=20)
    for trainer.global_step, logged, loss in ((1, 2.0, 2.0), (19, 1.0, 2.0), (20, 0.5, 0.5)):
        trainer.callback_metrics = {"train/loss": torch.tensor(logged)}
        assert bar.get_metrics(trainer, None) == {"loss": loss, MONITOR: 0.25}
    console = Console(width=80, force_terminal=True, file=StringIO())
    metrics = TextColumn(f"loss: 0.500 {MONITOR}: 0.250", justify="left")  # as Lightning adds them
    progress = Progress(*bar.configure_columns(None), metrics, console=console)
    progress.add_task("Epoch 199/199", total=1000, completed=1000)
    console.print(progress)
    (line,) = Text.from_ansi(console.file.getvalue()).plain.splitlines()
    assert "1000/1000" in line
    assert line.rstrip().endswith("0.250")


def test_without_a_terminal_each_epoch_is_a_line_and_the_start_is_explained(train, caplog):
    caplog.set_level(logging.INFO)
    run = train("trainer.progress=true")
    rows = read_metrics(run / "metrics.csv")
    means = [row["train/loss_epoch"] for row in rows if "train/loss_epoch" in row]
    lines = [message for message in caplog.messages if message.startswith("Epoch ")]
    expected = [f"Epoch {epoch}/1: loss {mean:.3f}, " for epoch, mean in enumerate(means)]
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
    assert all(f"{MONITOR} 0." in line for line in lines)
    start = "\n".join(caplog.messages)
    assert re.search(r"\w of [56] classes: .*test_resnet, \d\.\d million", start)
    assert "million parameters.\nDevice: cpu, 32-true.\n" in start
    assert f"Run: {run}; tracking: none." in start
