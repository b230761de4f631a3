"""Optimiser steps: accumulated gradients, limits, mixed precision, and what is logged of them."""

# ~ if cookiecutter.scope == "complete"
import csv
import math
from types import SimpleNamespace

# ~ else
import csv
import math

# ~ endif
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
from {{ cookiecutter.package_name }}.classification.module import (
    ClassificationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
# ~ if cookiecutter.task == "detection"
from {{ cookiecutter.package_name }}.detection.dataset import build_datasets
from {{ cookiecutter.package_name }}.detection.module import DetectionModule as TaskModule
# ~ endif
from {{ cookiecutter.package_name }}.errors import NotFiniteError
from {{ cookiecutter.package_name }}.run.folder import Run
# ~ if cookiecutter.task == "segmentation"
from {{ cookiecutter.package_name }}.segmentation.dataset import build_datasets
from {{ cookiecutter.package_name }}.segmentation.module import (
    SegmentationModule as TaskModule,
)
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings
from {{ cookiecutter.package_name }}.training import trainer as trainer_module
# ~ if cookiecutter.scope == "complete"
from {{ cookiecutter.package_name }}.training.callbacks.each_step import EpochLog
# ~ endif
from {{ cookiecutter.package_name }}.training.trainer import build_trainer, step_callbacks

from small import SHAPES, SMALL, composed

BATCHES = 4  # in an epoch of the small training run


def column(run, name):
    """Return the numbers of a column of metrics.csv."""
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def end_of(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def settings_of(*words):
    return check(composed(*SMALL, *SHAPES, *words), Settings)


def test_schedule_average_and_log_count_the_steps_of_accumulated_batches(train):
    """An epoch of 4 batches has a step of 3 batches and a step of 1: 4 steps in 2 epochs."""
    words = ("schedule.warmup=0.5", "schedule.final_lr=0", "optimizer.lr=0.006")
    run = train("trainer.accumulate_grad_batches=3", *words)
    assert column(run, "train/lr") == pytest.approx([0.002, 0.004, 0.006, 0.003])
    assert len(column(run, "train/loss")) == len(column(run, "train/grad_norm")) == 4
    end = end_of(run)
    assert end["global_step"] == end["trained_weights"]["updates"] == 4
    first, second, third, fourth = column(run, "train/loss")  # each the mean of its batches
    means = [(3 * first + second) / 4, (3 * third + fourth) / 4]
    assert column(run, "train/loss_epoch") == pytest.approx(means)


def test_the_gradient_of_a_step_of_fewer_batches_is_their_mean(train):
    words = ("optimizer.lr=1e-12", "trainer.max_epochs=1", "optimizer.clip_norm=null")
    single = column(train(*words), "train/grad_norm")
    joined = column(train(*words, "trainer.accumulate_grad_batches=3"), "train/grad_norm")
    assert len(joined) == 2
    assert joined[1] == pytest.approx(single[3], rel=1e-3)  # of the fourth batch alone


def test_each_epoch_logs_a_step_and_its_mean_loss(train):
    every = train("trainer.log_every_n_steps=1")
    losses, means = column(every, "train/loss"), column(every, "train/loss_epoch")
    epochs = [losses[:BATCHES], losses[BATCHES:]]
    assert means == pytest.approx([sum(epoch) / BATCHES for epoch in epochs], rel=1e-5)
    seldom = train("trainer.log_every_n_steps=1000")
    assert column(seldom, "train/loss") == pytest.approx([losses[3], losses[7]])
    halved = train("trainer.accumulate_grad_batches=2", "optimizer.lr=1e-12")
    unchanged = train("optimizer.lr=1e-12")
    assert column(halved, "train/loss_epoch") == pytest.approx(
        column(unchanged, "train/loss_epoch"), rel=1e-3
    )


# ~ if cookiecutter.scope == "complete"
def test_each_process_resumes_the_mean_loss_of_its_own_images(monkeypatch):
    def gather(totals, own):
        for total, value in zip(totals, (torch.tensor(5.0), own), strict=True):
            total.copy_(value)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "all_gather", gather)
    second, resumed = EpochLog(), EpochLog()
    second.total, second.batches = torch.tensor(3.0), 2
    state = second.state_dict()
    for rank, total in ((0, 5.0), (1, 3.0)):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        resumed.load_state_dict(state)
        assert (float(resumed.total), resumed.batches) == (total, 2)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    resumed.load_state_dict(state)  # a single process goes on
    assert float(resumed.total) == 4
    resumed.load_state_dict({"total": torch.tensor(7.0), "batches": 1})  # of an earlier version
    assert float(resumed.total) == 7


def test_the_mean_loss_counts_the_batches_of_an_interrupted_step_once():
    trainer = SimpleNamespace(
        accumulate_grad_batches=2, is_last_batch=False, global_step=0, max_steps=-1
    )

    def add(log, batch_idx, loss):
        log.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss / 2)}, None, batch_idx)

    first, resumed = EpochLog(), EpochLog()
    for batch_idx, loss in enumerate((1.0, 2.0, 9.0)):
        add(first, batch_idx, loss)
    resumed.load_state_dict(first.state_dict())
    for batch_idx, loss in ((2, 3.0), (3, 4.0)):  # from the start of the second step
        add(resumed, batch_idx, loss)
    assert (float(resumed.total), resumed.batches) == (10, 4)


# ~ endif
def test_a_training_of_few_steps_is_validated_and_follows_its_own_schedule(train):
    words = ("schedule.warmup=0", "schedule.final_lr=0", "optimizer.lr=0.004")
    run = train("trainer.max_steps=2", *words)
    assert column(run, "train/lr") == pytest.approx([0.004, 0.002])
    assert end_of(run)["global_step"] == 2
    assert len(column(run, MONITOR)) == 1
    assert (run / "checkpoints/best.ckpt").is_file()
    assert (run / "metrics.json").is_file()


class Seen(Callback):
    """The gradients that the optimiser gets, and whether it is fused."""

    def __init__(self):
        self.norms = []
        self.fused = None

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = [p.grad.norm() for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(torch.stack(gradients).norm().item())
        self.fused = optimizer.defaults["fused"]


def train_steps(tmp_path, settings, **options):
    """Train for two steps; returns what the optimiser got, the trainer and the logged norm."""
    datasets = build_datasets(settings.data)
    torch.manual_seed(0)
    module = TaskModule(settings, list(datasets.classes))
    seen = Seen()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=2,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        callbacks=[*step_callbacks(settings), seen],
        **options,
    )
    data = DataModule(datasets, settings.loader, skip_unreadable=False)
    trainer.fit(module, datamodule=data)
    return seen, trainer


def test_float16_clips_gradients_that_are_not_scaled(workplace):
    settings = settings_of("optimizer.clip_norm=0.01", "data.image_size=64")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
    half = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    seen, trainer = train_steps(workplace, settings, plugins=[half])
    whole, exact = train_steps(workplace, settings)
    assert not seen.fused
    assert whole.fused
    assert seen.norms == pytest.approx([0.01] * 2, rel=1e-3)
    norms = [item.callback_metrics["train/grad_norm"].item() for item in (trainer, exact)]
    assert norms[0] == pytest.approx(norms[1], rel=0.2)  # 1,024 times as much if it were scaled
    assert scaler.get_scale() == 4096  # no step was skipped


def test_float16_skips_a_step_whose_gradients_overflow_but_not_a_loss_that_is_nan(
    workplace, monkeypatch
):
    settings = settings_of("data.image_size=64")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-30)
    half = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    seen, trainer = train_steps(workplace, settings, plugins=[half])
    assert [math.isfinite(norm) for norm in seen.norms] == [False, True]
    assert scaler.get_scale() == 1024
    assert trainer.global_step == 2
    assert all(part.isfinite().all() for part in trainer.lightning_module.parameters())
    step = TaskModule.training_step
    monkeypatch.setattr(TaskModule, "training_step", lambda *words: torch.nan * step(*words))
    half = MixedPrecision("16-mixed", device="cpu", scaler=torch.amp.GradScaler("cpu"))
    with pytest.raises(NotFiniteError, match="The loss is nan at step 1"):
        train_steps(workplace, settings, plugins=[half])


@pytest.mark.parametrize(
    ("gpu", "bf16", "expected"),
    [(True, True, "bf16-mixed"), (True, False, "16-mixed"), (False, False, "32-true")],
)
def test_the_precision_fits_the_gpu(monkeypatch, gpu, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bf16)
    monkeypatch.setattr(trainer_module, "Trainer", Recorded)
    for accelerator, precision in (("auto", expected), ("cpu", "32-true")):
        settings = settings_of(f"trainer.accelerator={accelerator}")
        assert built(settings).precision == precision


class Recorded:
    """The arguments of a trainer."""

    def __init__(self, **arguments):
        self.__dict__.update(arguments)


def built(settings):
    return build_trainer(settings, Run(settings.runs / "a"), loggers=[], callbacks=[])
