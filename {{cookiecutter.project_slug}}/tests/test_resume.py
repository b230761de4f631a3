# ~ if cookiecutter.scope == "complete"
import csv
import json
import os
import signal
from pathlib import Path

# ~ else
import csv
import json
from pathlib import Path

# ~ endif
import pytest
import torch

# ~ if cookiecutter.task == "classification"
from {{ cookiecutter.package_name }}.classification.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.data.datamodule import DataModule
from {{ cookiecutter.package_name }}.data.sampler import TrainingSampler
# ~ if cookiecutter.task != "classification"
from {{ cookiecutter.package_name }}.{{ cookiecutter.task }}.dataset import build_datasets
# ~ endif
from {{ cookiecutter.package_name }}.settings.check_settings import check
from {{ cookiecutter.package_name }}.settings.schema import MONITOR, Settings
from {{ cookiecutter.package_name }}.training.callbacks.resume import ExactResume

from small import SHAPES, SMALL, composed

IMAGES = range(23)


def batches(epoch, world_size=1, batch_size=5, seed=1, **position):
    """Return the images of each batch of all processes together."""
    samplers = [
        TrainingSampler(IMAGES, batch_size, seed, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    for sampler in samplers:
        vars(sampler).update(epoch=epoch, **position)
    shares = [[key % len(IMAGES) for key in sampler] for sampler in samplers]
    size = samplers[0].batch_size
    return [
        sorted(image for share in shares for image in share[start : start + size])
        for start in range(0, len(shares[0]), size)
    ]


def flat(lists):
    return [value for values in lists for value in values]


def test_an_epoch_has_each_image_once_in_an_order_of_its_own():
    epochs = [flat(batches(epoch, seed=seed)) for seed in (1, 2) for epoch in (0, 1)]
    assert all(len(set(epoch)) == len(epoch) == 20 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert batches(0) == batches(0)


# ~ if cookiecutter.scope == "complete"
@pytest.mark.parametrize("others", [(1, 5), (2, 5), (3, 2)])
def test_an_epoch_goes_on_with_any_number_of_processes(others):
    world_size, batch_size = others
    first = batches(3, world_size=2)[:1]
    rest = batches(3, used_images=10, world_size=world_size, batch_size=batch_size)
    assert len(set(flat(first + rest))) == len(flat(first + rest)) > 15
    if others == (2, 5):
        assert first + rest == batches(3, world_size=2)


# ~ endif
def test_fewer_images_than_processes_need_make_equal_batches():
    assert [len(batch) for batch in batches(0, world_size=2, batch_size=30)] == [24]
    assert [len(batch) for batch in batches(0, batch_size=30)] == [23]


def test_augmentation_does_not_depend_on_the_number_of_workers(workplace):
    settings = check(composed(*SMALL, *SHAPES, "data.augment.color=0.5"), Settings)
    datasets = build_datasets(settings.data)
    images = []
    for workers in (0, 1, 2):
        loader = settings.loader.model_copy(update={"workers": workers})
        batch = next(iter(DataModule(datasets, loader, skip_unreadable=False).train_dataloader()))
        images.append(batch.images)
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])
    assert not torch.equal(*(datasets.train[0].image for _ in range(2)))


def rows_of(run):
    """Return the rows of metrics.csv without empty cells and columns of time."""
    with (run / "metrics.csv").open(newline="") as file:
        # ~ if cookiecutter.scope == "complete"
        return [
            {name: cell for name, cell in row.items() if cell and not name.startswith("perf/")}
            for row in csv.DictReader(file)
        ]


        # ~ else
        return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]


        # ~ endif
def assert_equal_runs(run, whole):
    ends, scores = [], []
    for folder in (run, whole):
        end = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
        ends.append([end[key] for key in ("state_dict", "trained_weights", "optimizer_states")])
        scores.append(rows_of(folder))
        pictures = sorted(folder.rglob("*.png"))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)
    assert scores[0] == scores[1]
    for picture in pictures:
        assert (run / picture.relative_to(whole)).read_bytes() == picture.read_bytes(), picture


@pytest.fixture
def interrupted(train, workplace, monkeypatch):
    """Call a function at the start of a step, and return the run that this has interrupted."""

    def run(step, end, *overrides):
        start = ExactResume.on_train_batch_start

        def interrupt(self, trainer, *arguments):
            start(self, trainer, *arguments)
            if trainer.global_step == step:
                end()

        before = set(workplace.glob("runs/*"))
        with monkeypatch.context() as patched:
            patched.setattr(ExactResume, "on_train_batch_start", interrupt)
            with pytest.raises((SystemExit, RuntimeError)):
                train(*overrides)
        (folder,) = set(workplace.glob("runs/*")) - before
        return folder.relative_to(workplace)

    return run


def fail():
    raise RuntimeError("as if the process had been killed")


# ~ if cookiecutter.scope == "complete"
def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


ENDS = [fail, terminate]
# ~ else
ENDS = [fail]
# ~ endif
# ~ if cookiecutter.task == "classification"
RANDOM = ("model.mixup=0.5", "model.cutmix=1", "model.drop_rate=0.2", "data.augment.color=0.3")


# ~ else
RANDOM = ("data.augment.color=0.3", "data.augment.rotate=20")


# ~ endif
@pytest.mark.figures
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("step", "words"),
    [
        # ~ if cookiecutter.scope == "complete"
        (5, ("model.freeze=1", "optimizer.backbone_lr=0.5")),
        # An epoch of 4 batches has an optimiser step of 3 and a step of 1.
        (4, ("trainer.accumulate_grad_batches=3", "trainer.val_check_interval=0.5")),
        # Training ends within an epoch; Lightning must not repeat the end of the epoch before.
        (6, ("trainer.max_steps=10",)),
        # ~ else
        (5, ()),
        # An epoch of 4 batches has an optimiser step of 3 and a step of 1.
        (4, ("trainer.accumulate_grad_batches=3",)),
        # ~ endif
    ],
)
def test_a_resumed_training_is_the_uninterrupted_one(train, command, interrupted, end, step, words):
    words = (*RANDOM, "trainer.max_epochs=3", *words)
    whole = train(*words)
    run = interrupted(step, end, *words)
    command("train", f"resume={run.name}", "loader.workers=1")
    assert_equal_runs(run, whole)


# ~ if cookiecutter.scope == "complete"
def test_an_epoch_goes_on_with_another_batch_size(interrupted, command):
    run = interrupted(5, terminate, "trainer.max_epochs=3")
    command("train", f"resume={run.name}", "loader.batch_size=5")
    rows = rows_of(run)
    assert [row["epoch"] for row in rows if MONITOR in row] == ["0", "1", "2"]
    steps = [row["epoch"] for row in rows if "train/loss" in row]
    assert [steps.count(epoch) for epoch in "012"] == [4, 2 + 4, 8]


def test_a_step_that_a_resumed_run_begins_in_its_middle_has_the_loss_of_its_batches(
    interrupted, command
):
    # The second of four batches is the first after the resume, and the last of its step.
    run = interrupted(4, terminate, "trainer.max_epochs=2", "optimizer.lr=1e-12")
    command("train", f"resume={run.name}", "trainer.accumulate_grad_batches=2")
    resumed = [row for row in rows_of(run) if "train/loss" in row][5]
    whole = interrupted(7, terminate, "trainer.max_epochs=2", "optimizer.lr=1e-12")
    single = [row for row in rows_of(whole) if "train/loss" in row][5]
    for name in ("train/loss", "train/grad_norm"):
        assert float(resumed[name]) == pytest.approx(float(single[name]), rel=1e-4)


@pytest.mark.parametrize(
    ("epochs", "expected"), [("4", [4, 2, 4, 3]), ("null", [4, 2, 4, 3]), ("2", [4, 2])]
)
def test_a_training_that_max_steps_ended_within_an_epoch_goes_on_with_the_next(
    train, command, epochs, expected
):
    run = train(f"trainer.max_epochs={epochs}", "trainer.max_steps=6", "trainer.patience=9")
    command("train", f"resume={run.name}", "trainer.max_steps=13")
    rows = rows_of(run)
    numbers = [str(epoch) for epoch in range(len(expected))]
    assert [row["epoch"] for row in rows if MONITOR in row] == numbers
    steps = [row["epoch"] for row in rows if "train/loss" in row]
    assert [steps.count(epoch) for epoch in numbers] == expected


# ~ endif
def test_a_resumed_training_uses_the_weight_decay_of_the_command(train, command):
    run = train("trainer.max_epochs=1")
    words = ["trainer.max_epochs=2", "optimizer.weight_decay=0.03"]
    # ~ if cookiecutter.scope == "complete"
    words.append("optimizer.backbone_lr=1")  # as before, so it is accepted
    # ~ endif
    command("train", f"resume={run.name}", *words)
    end = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    groups = end["optimizer_states"][0]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0, 0.03}
    record = json.loads((run / "environment.json").read_text())
    assert f"resume={run.name}" in record["command"]
    (first,) = record["earlier_starts"]
    assert "trainer.max_epochs=1" in first["command"]
    assert first["started"] <= record["started"]
    report = (run / "report.html").read_text()
    assert report.index(f"Before, {first['started']}") < report.index("trainer.max_epochs=1")


def test_a_resumed_training_keeps_its_kind_of_optimizer(train, command):
    run = train("trainer.max_epochs=1")
    with pytest.raises(SystemExit, match=r"optimizer\.name=sgd cannot be changed"):
        command("train", f"resume={run.name}", "trainer.max_epochs=2", "optimizer.name=sgd")


def test_a_resumed_training_with_more_epochs_follows_the_longer_schedule(train, command):
    long = train("trainer.max_epochs=3", "schedule.warmup=0.4")
    run = train("trainer.max_epochs=1", "schedule.warmup=0.1")
    command("train", f"resume={run.name}", "trainer.max_epochs=3", "schedule.warmup=0.4")
    rates = [[row["train/lr"] for row in rows_of(run) if "train/lr" in row] for run in (run, long)]
    assert rates[0][4:] == rates[1][4:]


@pytest.mark.parametrize("named", [True, False])
def test_a_worse_epoch_does_not_replace_the_best_checkpoint_of_a_moved_run(
    train, command, tmp_path, monkeypatch, named
):
    run = train()
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    (state,) = (state for state in content["callbacks"].values() if state.get("best_k_models"))
    best, high = state["best_model_path"], torch.tensor(2.0)
    state |= {"best_model_score": high, "kth_value": high, "best_k_models": {best: high}}
    torch.save(content, last)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "runs").mkdir(parents=True)
    run.rename(elsewhere / "runs" / run.name)
    monkeypatch.chdir(elsewhere)
    if not named:  # only best.ckpt and last.ckpt have been copied
        (run / "checkpoints" / Path(best).name).unlink()
    kept = {path: path.read_bytes() for path in last.parent.iterdir() if path != last}
    command("train", f"resume={run.name}", "trainer.max_epochs=3")
    assert {path: path.read_bytes() for path in last.parent.iterdir() if path != last} == kept
    assert torch.load(last, weights_only=True)["epoch"] == 2


def test_a_training_that_early_stopping_has_ended_is_not_continued(train, command):
    run = train("trainer.patience=1", "trainer.max_epochs=1")
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    for name, state in content["callbacks"].items():
        if name.startswith("EarlyStopping"):
            state["wait_count"] = 1
    torch.save(content, last)
    for patience, epochs in ((1, ["0"]), (3, ["0", "1"])):
        words = (f"resume={run.name}", "trainer.max_epochs=2", f"trainer.patience={patience}")
        command("train", *words)
        assert [row["epoch"] for row in rows_of(run) if MONITOR in row] == epochs
